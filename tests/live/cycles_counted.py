"""The product, whose collector rests; `/cycles` tells what of our own, and of the server's, only it could free."""

import gc
import json
from collections import Counter
from typing import Any

from memoryhub.config import asgi

OURS = ("agents", "escalations", "memoryhub", "uvicorn", "rest_framework")

gc.disable()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http" or scope["path"] != "/cycles":
        await asgi.application(scope, receive, send)
        return
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    found = Counter(type(each).__qualname__ for each in gc.garbage if type(each).__module__.split(".")[0] in OURS)
    gc.set_debug(0)
    gc.garbage.clear()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})
