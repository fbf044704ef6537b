"""The embeddings endpoint: texts in, vectors out, by OpenAI's protocol (POST …/embeddings), outside any transaction.

It is a third party's server: its answers are validated, and its being down, slow or wrong is not an error of ours.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from functools import cache
from uuid import UUID

import httpx2
import msgspec
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

MAX_TEXT = 8_000  # characters of a text that are sent; models read less
MAX_DIMENSIONS = 16_000  # pgvector's limit
MAX_ANSWER = 64 * 1024 * 1024  # bytes
BATCH_SECONDS, QUERY_SECONDS = 30.0, 3.0
# How many threads of a web process may wait for the endpoint, and the pause after it was unavailable: other requests
# need threads, too.
WAITING, REST_SECONDS = 4, 5.0
MAX_KEPT = 256  # vectors of queries


class Away(Exception):
    """The endpoint gives no usable answer. `retry_after`: seconds, where it names them, else 0."""

    def __init__(self, reason: str, retry_after: int = 0) -> None:
        super().__init__(reason)
        self.reason, self.retry_after = reason, retry_after


class TextsRefused(Exception):
    """The endpoint refuses these texts as such."""

    def __init__(self, status: int) -> None:
        super().__init__(f"it answers {status}")


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


_answer = msgspec.json.Decoder(_Answer)


@cache
def _client() -> httpx2.Client:
    """One client for all threads. It follows no redirects: the key and the texts are for this address only."""
    key = settings.EMBEDDINGS_KEY
    return httpx2.Client(headers={"Authorization": f"Bearer {key}"} if key else {}, follow_redirects=False)


def embed(texts: Sequence[str], *, seconds: float) -> list[str]:
    """The vector of each text, of length 1, in pgvector's notation. Raises Away, Refused; waits for about `seconds`."""
    body = {
        "model": settings.EMBEDDINGS_MODEL,
        "input": [text[:MAX_TEXT] for text in texts],
        "encoding_format": "float",
    }
    return [_literal(vector) for vector in _read(_send(msgspec.json.encode(body), seconds), len(texts))]


def _send(body: bytes, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    url = f"{settings.EMBEDDINGS_URL.rstrip('/')}/embeddings"
    sent = {"Content-Type": "application/json", "Accept": "application/json"}
    try:
        with _client().stream("POST", url, content=body, headers=sent, timeout=seconds) as answer:
            if answer.status_code in (400, 413, 422):
                raise TextsRefused(answer.status_code)
            if answer.status_code != 200:
                asked = answer.headers.get("Retry-After", "")
                # Longer ones are no useful wait, and int() is slow with very many digits.
                wait = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 0
                raise Away(f"it answers {answer.status_code}", wait)
            found = bytearray()
            for chunk in answer.iter_bytes():
                found += chunk
                if len(found) > MAX_ANSWER or time.monotonic() > deadline:
                    raise Away("its answer is too large or too slow")
            return bytes(found)
    except httpx2.HTTPError as error:
        raise Away(type(error).__name__) from None


def _read(raw: bytes, count: int) -> list[list[float]]:
    """One vector per text, in the order of the texts. Raises Away for anything else."""
    try:
        items = _answer.decode(raw).data
    except (msgspec.DecodeError, RecursionError):
        raise Away("its answer does not follow the protocol") from None
    items.sort(key=lambda item: item.index)
    if [item.index for item in items] != list(range(count)):
        raise Away("its answer does not have one vector per text")
    sizes = {len(item.embedding) for item in items}
    if len(sizes) != 1 or not 0 < sizes.pop() <= MAX_DIMENSIONS:
        raise Away("its vectors differ in size, or are too large")
    return [item.embedding for item in items]


def _literal(vector: list[float]) -> str:
    length = math.hypot(*vector)
    if not (math.isfinite(length) and length > 0):
        raise Away("one of its vectors is zero or not finite")
    return f"[{','.join(f'{number / length:.7g}' for number in vector)}]"


_waiting = threading.BoundedSemaphore(WAITING)
_kept: OrderedDict[tuple[UUID, str], str] = OrderedDict()
_kept_lock = threading.Lock()
_away_until = 0.0


def of_query(member: UUID, text: str) -> str:
    """The vector of a query. Raises Away. Recent queries are cached per member, so that timing discloses nothing of
    what others search for.
    """
    global _away_until
    with _kept_lock:
        if (known := _kept.get((member, text))) is not None:
            _kept.move_to_end((member, text))
            return known
    if time.monotonic() < _away_until or not _waiting.acquire(blocking=False):
        raise Away("it was unavailable a moment ago, or is busy")
    try:
        (made,) = embed([text], seconds=QUERY_SECONDS)
    except TextsRefused as error:
        raise Away(str(error)) from None  # of this query only: others may be answered
    except Away as error:
        _away_until = time.monotonic() + REST_SECONDS
        log.warning("embeddings_away", reason=error.reason)
        raise
    finally:
        _waiting.release()
    with _kept_lock:
        _kept[member, text] = made
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return made
