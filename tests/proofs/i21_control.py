"""The web process whose threads are not shared out, and hash passwords like anything else: I21 must find that out."""

from memoryhub.config import asgi
from memoryhub.interface.server import bridge, shares

shares.ALONE = shares.BESIDE = float("inf")
shares.LONG_SECONDS = float("inf")
asgi._http._slow = bridge.Threads("password", 16)

application = asgi.application
