"""The web process without its sweep of rights: the control of I12 must find that out."""

from memoryhub.config import asgi
from memoryhub.interface.live import rights

rights.SWEEP_SECONDS = 3600.0
application = asgi.application
