"""A small server that speaks the embeddings protocol: texts whose words mean the same are near."""

import json
import math
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

DIMENSIONS = 64
KEY = "key-of-the-embeddings-endpoint"
MODEL = "bag-of-meanings"
# Words of one meaning have one place; all others a place by their own.
MEANINGS = [
    {"refund", "money", "reimbursed", "repaid"},
    {"flight", "plane", "aircraft", "jet"},
    {"late", "delayed", "postponed", "behind"},
    {"angry", "upset", "furious"},
]
_PLACES = {word: number for number, words in enumerate(MEANINGS) for word in words}


def vector(text: str) -> list[float]:
    """A text's: how often each meaning is in it."""
    made = [0.0] * DIMENSIONS
    for word in text.lower().split():
        own = len(MEANINGS) + zlib.crc32(word.encode()) % (DIMENSIONS - len(MEANINGS))
        made[_PLACES.get(word.strip(".,?!"), own)] += 1.0
    return made if any(made) else [1.0] * DIMENSIONS


class Endpoint(ThreadingHTTPServer):
    """The server. `texts`: all that were sent to it, a list a request; `fault`: how it answers instead, if at all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.delay = 0.0
        self.raw: bytes | None = None  # answered as it is
        self.fails_after: int | None = None  # so many requests
        self.refuses = ""  # answers 400 to a request that has a text with this in it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def texts(self) -> list[str]:
        return [text for request in self.requests for text in request["input"]]

    @property
    def sizes(self) -> list[int]:
        return [len(request["input"]) for request in self.requests]

    def forget(self) -> None:
        """Be as new."""
        self.requests, self.keys, self.headers = [], [], {}
        self.status, self.delay, self.raw, self.refuses, self.fails_after = 200, 0.0, None, "", None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that no longer waits is none."""


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        endpoint = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        endpoint.requests.append(asked)
        endpoint.keys.append(self.headers.get("Authorization"))
        time.sleep(endpoint.delay)
        status = endpoint.status if self.path == "/v1/embeddings" else 404
        if endpoint.fails_after is not None and len(endpoint.requests) > endpoint.fails_after:
            status = 502
        if endpoint.refuses and any(endpoint.refuses in text for text in asked["input"]):
            status = 400
        data = [{"object": "embedding", "index": n, "embedding": vector(t)} for n, t in enumerate(asked["input"])]
        body = {"object": "list", "data": data[::-1], "model": asked["model"], "usage": {"total_tokens": 1}}
        sent = json.dumps(body if status == 200 else {"error": {"message": "no"}}).encode()
        sent = sent if endpoint.raw is None else endpoint.raw
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **endpoint.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Endpoint]:
    """The server, until the block ends."""
    endpoint = Endpoint()
    thread = threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.shutdown()
        endpoint.server_close()


def similarity(one: str, other: str) -> float:
    """The cosine of two texts' vectors."""
    a, b = vector(one), vector(other)
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
