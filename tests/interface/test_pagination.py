"""Cursors: pages join without gap or repetition, both ways; a cursor fits its own list only."""

import base64
from contextlib import suppress
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import override_settings
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memoryhub.core.errors import Invalid
from memoryhub.interface.http.pagination import Page, Window, page, read_window
from memoryhub.interface.http.params import Params

ADDRESS = "http://hub.example/api/v1/observations"
ALLOWED = ("task", "tags", "limit", "cursor")


def window(query: str, address: str = ADDRESS, owner: object = "me") -> Window:
    return read_window(Params(query, ALLOWED), address=address, owner=owner)


def fetch(ids: list[int], found: Window) -> list[int]:
    """What a selector does in SQL, newest first."""
    if found.backwards:
        rows = sorted(row for row in ids if row > int(found.position or 0))
    else:
        rows = sorted((row for row in ids if found.position is None or row < int(found.position)), reverse=True)
    return rows[: found.limit + 1]


def get(ids: list[int], address: str) -> Page[int]:
    found = window(urlsplit(address).query)
    return page(found, fetch(ids, found), position=lambda row: row)


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 10_000), max_size=40), st.integers(1, 12))
@example(set(range(1, 11)), 5)
def test_pages_join_forwards_and_backwards(found: set[int], limit: int) -> None:
    ids = list(found)
    pages = [get(ids, f"{ADDRESS}?task=a%20b&limit={limit}")]
    while (following := pages[-1].next) is not None:
        # Rows that arrive meanwhile are newer than any page, and disturb none.
        ids.append(max(ids) + 1)
        pages.append(get(ids, following))
    assert [row for one in pages for row in one.results] == sorted(found, reverse=True)
    back = [pages[-1]]
    while (before := back[-1].previous) is not None:
        back.append(get(ids, before))
    for nearer, farther in pairwise(back):
        assert farther.next is not None
        assert get(ids, farther.next).results[: len(nearer.results)] == nearer.results
    assert sorted((row for one in back for row in one.results), reverse=True) == sorted(ids, reverse=True)


def test_the_first_and_only_page_links_nowhere() -> None:
    only = get([1, 2, 3], ADDRESS)
    assert (only.results, only.next, only.previous, only.headers) == ([3, 2, 1], None, None, {})
    assert get([], ADDRESS) == Page([], None, None)


def test_links_are_addresses_of_the_same_query() -> None:
    first = get(list(range(10)), f"{ADDRESS}?tags=x,y&limit=4")
    assert first.next is not None
    assert first.next.startswith(f"{ADDRESS}?tags=x%2Cy&limit=4&cursor=")
    second = get(list(range(10)), first.next)
    assert second.headers == {"Link": f'<{second.next}>; rel="next", <{second.previous}>; rel="prev"'}
    # Who takes `next` for the cursor is understood.
    found = read_window(
        Params(f"tags=x,y&cursor={first.next.replace('&', '%26')}", ALLOWED), address=ADDRESS, owner="me"
    )
    assert (found.position, found.limit) == (6, 50)


def cursor_of(address: str | None) -> str:
    assert address
    return parse_qs(urlsplit(address).query)["cursor"][0]


def test_a_foreign_cursor_is_refused() -> None:
    cursor = cursor_of(get(list(range(9)), f"{ADDRESS}?task=a&limit=3").next)
    assert window(f"task=a&cursor={cursor}").position == 6
    assert window(f"cursor={cursor}&limit=7&task=a").limit == 7
    with pytest.raises(Invalid):
        window(f"task=b&cursor={cursor}")
    with pytest.raises(Invalid):
        window(f"cursor={cursor}")
    with pytest.raises(Invalid):
        window(f"task=a&cursor={cursor}", owner="somebody else")
    with pytest.raises(Invalid):
        window(f"task=a&cursor={cursor}", address="http://hub.example/api/v1/decisions")


def test_a_forged_cursor_is_refused() -> None:
    cursor = cursor_of(get(list(range(9)), f"{ADDRESS}?limit=3").next)
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    forged = [raw[:16] + b"[false,7]", raw[16:], b"", bytes(16) + raw[16:], raw + b" "]
    for bad in [
        *(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in forged),
        "abc",
        "é",
        "....",
        "a" * 1999,
    ]:
        with pytest.raises(Invalid):
            window(f"cursor={bad or 'x'}".encode().decode("latin-1"))


def test_a_cursor_does_not_outlive_its_secret() -> None:
    cursor = cursor_of(get(list(range(9)), f"{ADDRESS}?limit=3").next)
    with override_settings(SECRET_KEY="another"), pytest.raises(Invalid):
        window(f"cursor={cursor}")


@pytest.mark.parametrize("limit", ["0", "-1", "101", "1000000000", "abc", "1.5", "%D9%A3"])
def test_limits_are_bounded(limit: str) -> None:
    with pytest.raises(Invalid):
        window(f"limit={limit}")


def test_keys_are_positions_too() -> None:
    found = read_window(Params("limit=1", ALLOWED), address=ADDRESS, owner=1)
    first = page(found, ["a/é", "b"], position=str)
    again = read_window(Params(urlsplit(first.next or "").query, ALLOWED), address=ADDRESS, owner=1)
    assert again.position == "a/é"


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_cursor_is_refused(text: str) -> None:
    with suppress(Invalid):
        assert window("cursor=" + "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "replace"))).position is None
