"""Keyset pagination: pages that neither skip nor repeat a row while others are inserted.

A page is found by the position of its neighbour, never by an offset. A cursor is signed together with the endpoint, the
filters and the member, so that a forged one, or one of another list, is refused.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode, urlsplit

import orjson
from django.conf import settings

from memoryhub.core.errors import Code, FieldError, Invalid
from memoryhub.core.fields import Schema
from memoryhub.interface.http.params import MAX_QUERY_BYTES, Params

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
_MAC_BYTES = 16

T = TypeVar("T")
Position = str | int


@dataclass(frozen=True, slots=True)
class Window:
    """The requested rows: at most `limit` that come after `position` in the list's order.

    `backwards`: those before it instead, the nearest first. `position` None: from the start. A selector fetches
    `limit + 1` rows, so that page() knows whether more follow; in a list that is newest first:

        forwards   where id < position order by id desc
        backwards  where id > position order by id
    """

    limit: int
    position: Position | None
    backwards: bool
    scope: bytes
    address: str
    query: tuple[tuple[str, str], ...]


class Page(Schema, Generic[T]):
    """One page, in the list's order. `next` and `previous` are addresses, or null where the list ends."""

    results: list[T]
    next: str | None
    previous: str | None

    @property
    def headers(self) -> dict[str, str]:
        """The Link header (RFC 8288), where there is a neighbouring page."""
        links = [f'<{url}>; rel="{rel}"' for rel, url in (("next", self.next), ("prev", self.previous)) if url]
        return {"Link": ", ".join(links)} if links else {}


def read_window(params: Params, *, address: str, owner: object, most: int = MAX_LIMIT) -> Window:
    """The window that `limit` (1..`most`, default 50) and `cursor` request.

    `address`: of the endpoint, without query; `owner`: whose list it is (the membership's id). Raises Invalid.
    """
    query = tuple(params.without("limit", "cursor"))
    scope = orjson.dumps([urlsplit(address).path, str(owner), query])
    limit = params.integer("limit", low=1, high=most) or DEFAULT_LIMIT
    # `next` is an address; a client that sends it as the cursor means the cursor in it.
    cursor = (params.text("cursor", longest=MAX_QUERY_BYTES) or "").rpartition("cursor=")[2]
    backwards, position = _unsign(cursor, scope) if cursor else (False, None)
    return Window(limit, position, backwards, scope, address, query)


def page(
    window: Window, rows: Sequence[T], position: Callable[[T], Position], *, at_most: int | None = None
) -> Page[T]:
    """The page of a window. `rows`: as fetched, in the window's order, up to `limit + 1`; `position`: of a row.

    `at_most`: show no more of them, where they do not fit into one response.
    """
    limit = window.limit if at_most is None else min(window.limit, at_most)
    has_more = len(rows) > limit
    results = list(rows[:limit])
    if window.backwards:
        results.reverse()
    if not results:
        return Page([], None, None)
    is_inside = window.position is not None
    has_next = window.backwards or has_more
    has_previous = has_more if window.backwards else is_inside
    return Page(
        results,
        _link(window, False, position(results[-1])) if has_next else None,
        _link(window, True, position(results[0])) if has_previous else None,
    )


def _link(window: Window, backwards: bool, position: Position) -> str:
    cursor = _sign(backwards, position, window.scope)
    return f"{window.address}?{urlencode([*window.query, ('limit', window.limit), ('cursor', cursor)])}"


def _mac(payload: bytes, scope: bytes) -> bytes:
    # A key of its own (domain separation), so that a signature from here is valid nowhere else.
    key = hashlib.sha256(b"memoryhub cursor\0" + settings.SECRET_KEY.encode()).digest()
    return hmac.digest(key, len(scope).to_bytes(4) + scope + payload, "sha256")[:_MAC_BYTES]


def _sign(backwards: bool, position: Position, scope: bytes) -> str:
    payload = orjson.dumps([backwards, position])
    return base64.urlsafe_b64encode(_mac(payload, scope) + payload).rstrip(b"=").decode()


def _unsign(cursor: str, scope: bytes) -> tuple[bool, Position]:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    mac, payload = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(payload, scope)):
        fault = FieldError("?cursor", Code.BAD_FORMAT, "This is not a cursor of this list; take one from its pages.")
        raise Invalid(errors=(fault,))
    backwards, position = orjson.loads(payload)
    return backwards, position
