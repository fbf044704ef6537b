"""Channels' own way: a consumer for each socket, all in one group of the RedisPubSubChannelLayer. What is posted is
sent to the group. It knows no rights, no ledger and no database.
"""

import os
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings

LAYER = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [os.environ["REDIS_URL"]]}}
settings.configure(CHANNEL_LAYERS={"default": LAYER}, SECRET_KEY=os.environ["SECRET_KEY"])
django.setup()


class Dashboard(AsyncWebsocketConsumer):
    groups = ("dashboards",)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send('{"type":"ready"}')

    async def told(self, event: dict[str, str]) -> None:
        await self.send(event["text"])


sockets = Dashboard.as_asgi()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """WebSockets are dashboards; any request is an event."""
    if scope["type"] == "websocket":
        await sockets(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await get_channel_layer().group_send("dashboards", {"type": "told", "text": body.decode()})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
