"""The web process whose writes do not look whether the version that was read is the newest: I1 must find that out."""

from memoryhub.config import asgi
from memoryhub.memory.actions import facts

facts._compare = lambda found, seen: None
application = asgi.application
