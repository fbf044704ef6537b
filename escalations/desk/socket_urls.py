"""Where the desk's sockets are."""

from typing import Any, cast

from django.urls import re_path

from escalations.desk.sockets import QueueSocket
from memoryhub.interface.live.sockets import Receive, Scope, Send


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """No such socket: refused like any other."""
    await send({"type": "websocket.close"})


async def desk(scope: Scope, receive: Receive, send: Send) -> None:
    """A consumer for each socket."""
    await QueueSocket()(scope, receive, send)


# Channels resolves them with Django's patterns, whose types know views only.
websocket_urlpatterns = [
    re_path(r"^ws/t/(?P<team>[-a-zA-Z0-9_]{1,60})/queue/\Z", cast(Any, desk)),
    re_path("", cast(Any, refuse)),
]
