"""Bad input: what the tests of it share."""

import copy
from collections.abc import Iterator
from typing import Any

from tests.support.api import PROBLEM, Reply

KEYS = ["a b", "a/b", "ä", "x" * 201, "a\n", "a%", "{x}", "a\r\nb", "'", "a\u200bb"]

DATES = [
    "10000-01-01T00:00:00Z",
    "+010000-01-01T00:00:00Z",
    "infinity",
    "-infinity",
    "now",
    "2026-02-30T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-01-31T09:30:00",
    "2026-01-31",
    "2026-01-31T09:30:00+25:00",
    "2026-01-31T09:30:60Z",
    "2026-01-31T24:00:00Z",
    "2026-13-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "\u0662026-01-31T09:30:00Z",
]

# For each parameter of a query, what it may not be.
WRONG: dict[str, list[str]] = {
    "budget": ["-1", "0", "199", "100001", "1e9", "abc", "1_0", "1.0", "%D9%A1", str(2**64)],
    "limit": ["-1", "0", "101", "1000000000", "1e9", "abc", "1_0", "1.0", "%D9%A1", "+1", "%201", "01", str(2**64)],
    "cursor": ["x", "%00", "AAAA", "..", "A" * 5000, "%C3%A9", "'"],
    "status": ["nope", "Open", "open,done"],
    "state": ["nope", "Queued"],
    "severity": ["high", "Info", "info,warning"],
    "sent": ["1", "True", "yes"],
    "signal_type": ["luck", "Success", "success,failure"],
    "tags_mode": ["some"],
    "types": ["nope", "Observation", "decision,,"],
    "mode": ["nope", "Text"],
    "fields": ["nope", "Snippet", "snippet,id"],
    "tags": [",", "a,,b", "%E2%80%8B", ",".join(map(str, range(51)))],
    "exclude_own": ["1", "True", "yes"],
    "after_seq": ["-1", "abc", "1.0", str(2**53 + 1), "9" * 5000, "%D9%A1"],
    "min_importance": ["-1", "1.1", "2", "nan", "inf", "1e-1", "%D9%A1", ".5"],
    "since": [*DATES, "0", "%00"],
    "until": [*DATES, "0"],
    "task": ["a b", "x" * 201, "'", "%7Bx%7D", "a/b"],
    "label": ["top-secret", "Confidential", "internal%2B", "internal%2BÄ".replace("Ä", "%C3%84"), "%2Bfinance"],
    "q": ["x" * 1001, "%20", "%E2%80%8B", " OR ".join(["a"] * 1000).replace(" ", "%20")],
    "agent": ["x" * 101, "%20"],
    "exclude_agent": ["x" * 101, "%E2%80%8B"],
    "as_of_seq": ["-1", "abc", "1.0", str(2**53 + 1), "%D9%A1"],
    "as_of_time": [*DATES, "0", "%00"],
    "valid_at": [*DATES, "0"],
    "prefix": ["a b", "x" * 201, "%25", "a%0A"],
    "held_by": ["x" * 101, "%20"],
    "from": [*DATES, "0", "%00", "2000-01-01T00:00:00Z"],
    "to": [*DATES, "0", "2000-01-01T00:00:00Z,"],
    "by": ["month", "agent,", "Week", "agent;week"],
    "format": ["xml", "CSV", "text/csv"],
}


def check(reply: Reply, *statuses: int, why: object = None) -> Reply:
    """A problem of one of these statuses, whole and without HTML."""
    assert reply.status in statuses, (why, reply)
    assert reply.headers["Content-Type"] == PROBLEM, (why, reply)
    members = {"type", "title", "status", "code", "detail", "errors", "request_id"}
    assert members <= reply.data.keys(), (why, reply)
    assert reply.data["status"] == reply.status
    assert reply.data["detail"], (why, reply)
    return reply


def leaves(node: Any, pointer: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value below the node with the steps to it, containers too."""
    for name, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield (*pointer, name), value
        yield from leaves(value, (*pointer, name))


def replaced(body: dict[str, Any], pointer: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    node: Any = made
    for step in pointer[:-1]:
        node = node[step]
    node[pointer[-1]] = value
    return made
