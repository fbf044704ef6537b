"""The one process: sockets and long polls on the event loop, all other HTTP on threads with kept connections."""

import os
import re
from uuid import UUID

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
django.setup()

from a2wsgi import WSGIMiddleware  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from channels.sessions import CookieMiddleware  # noqa: E402
from django.conf import settings  # noqa: E402

from agents.waiting import Receive, Scope, Send, answer  # noqa: E402
from escalations.routing import websocket_urlpatterns  # noqa: E402
from memoryhub.config.wsgi import application as wsgi_application  # noqa: E402

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_ANSWER = re.compile(rf"/api/v1/escalations/({_UUID})/answer")

_http = WSGIMiddleware(wsgi_application, workers=settings.WEB_THREADS)  # type: ignore[arg-type]
_sockets = CookieMiddleware(URLRouter(websocket_urlpatterns))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application."""
    if scope["type"] == "websocket":
        await _socket(scope, receive, send)
    elif scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif found := _ANSWER.fullmatch(scope["path"]):
        await answer(scope, receive, send, UUID(found[1]))
    else:
        await _http(scope, receive, send)  # type: ignore[arg-type]


async def _socket(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await _sockets(scope, receive, send)
    except ValueError:  # no such address: the handshake is refused like any other
        await send({"type": "websocket.close", "code": 4404})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
