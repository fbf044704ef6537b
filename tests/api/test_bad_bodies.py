"""PROMISES.md, "Bad input": bodies, over every address of the API. Each is refused as a problem; nothing is stored."""

import json
import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents.api.doors import BodyEndpoint
from memoryhub.core.fields import Shape
from tests.support.api import Api
from tests.support.bad_input import DATES, KEYS, check, leaves, replaced
from tests.support.endpoints import BODIES, WRITERS, Door, World, make_world

IMPORT = "import/trajectories"
MIB = 1024 * 1024
UNREADABLE = ["", " ", "\u200b\u2060", "\u00a0\t"]

every_writer = pytest.mark.parametrize("door", WRITERS, ids=str)


@every_writer
def test_the_whole_body_is_taken(team: Any, door: Door) -> None:
    """The control: what the other tests spoil is good."""
    reply = make_world(team).send(door, BODIES[door.path])
    assert reply.status in (200, 201), reply


# Bodies that are no JSON object


def raw_bodies(good: dict[str, Any]) -> Iterator[bytes]:
    text = json.dumps(good)
    spoilt = text[:-1] + (", " if good else "")
    yield from (b"[]", b'"x"', b"null", b"1", b"true", b"{", b"{}x", b"{'a': 1}", b" ", b'{"a": 1,}', b"\x00")
    yield b"\xef\xbb\xbf" + text.encode()
    yield from (text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32"))
    yield from ((spoilt + f'"zz": {number}}}').encode() for number in BAD_NUMBERS)
    yield from ((spoilt + f'"zz": "{bad}"}}').encode() for bad in (r"\u0000", r"a\u0000b", r"\ud800", r"\udc00\ud800"))
    yield (spoilt + r'"z\u0000z": 1}').encode()
    yield spoilt.encode() + b'"zz": "\xff"}'
    yield spoilt.encode() + b'"zz": "\xed\xa0\x80"}'  # a surrogate, as UTF-8 would have it
    yield (spoilt + '"zz": ' + "[" * 40 + "]" * 40 + "}").encode()
    yield (spoilt + '"zz": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}").encode()
    yield (spoilt + '"zz": 1, "zz": 1}').encode()
    yield (spoilt + '"zz": {"a": 1, "\\u0061": 1}}').encode()


BAD_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    str(2**53 + 1),
    str(-(2**53) - 1),
    "9" * 5000,
    "01",
    "+1",
]


@every_writer
def test_what_is_no_json_object(world: World, door: Door) -> None:
    imports = door.path == IMPORT
    for raw in raw_bodies(BODIES[door.path]):
        if imports and raw.startswith(b"\xef\xbb\xbf"):
            continue  # which an import takes: test_import_forms
        reply = check(world.send(door, raw), 400, why=raw[:200])
        # An import also takes a list, and looks for fields that are none before it reads them.
        assert reply.code in ("invalid_json", "invalid" if imports else None), (raw[:200], reply)
    if not door.signature.is_body_optional:
        # Django's test client sends no media type for an empty body.
        reply = check(world.send(door, b"", CONTENT_TYPE="application/json"), 400)
        assert reply.code == "invalid_json"


@every_writer
def test_nul_and_surrogates_inside_every_text(world: World, door: Door) -> None:
    for pointer, value in leaves(BODIES[door.path]):
        if isinstance(value, str):
            for bad in ("\0", "a\0", "\ud800"):
                reply = world.send(door, json.dumps(replaced(BODIES[door.path], pointer, bad)).encode())
                if door.path == IMPORT and pointer[0] == "runs" and bad != "\ud800":
                    (result,) = reply.data["results"]  # which refuses that run alone
                    assert (reply.status, result["error"]["code"]) == (207, "invalid_json")
                else:
                    assert check(reply, 400, why=(pointer, bad)).code == "invalid_json"


# Bodies of the wrong shape

# Inside these anything goes.
FREE = {"metadata", "content", "decision", "arguments", "schema", "outcome", "details", "context", "runs"}

# What a body may leave out: a fact need not end, and who holds no task has no token.
NULLABLE = {("facts/{fact}", "ttl_seconds")}
NULLABLE |= {(door.path, "token") for door in WRITERS if door.path.startswith(("observations", "decisions"))}


def wrong_values(name: str, value: Any) -> Iterator[Any]:
    """What may not stand where this value stands."""
    if isinstance(value, bool):
        yield from (0, 1, "true", None, [], {})
    elif isinstance(value, int):
        yield from ("1", "1_0", 1.0, 1.5, True, None, -1, 0, 2**53 + 1, [], {}, "\u0661")
    elif isinstance(value, float):
        yield from ("0.5", True, -0.1, 1.1, [], {})
    elif isinstance(value, str):
        yield from (1, 1.5, True, [], ["x"], {})
        yield from () if name == "requester" else UNREADABLE
    elif isinstance(value, list):
        yield from ({}, "x", 1, True)
    elif name in FREE:
        yield from ([], 1, True, 1.5)
    else:
        yield from ([], "x", 1)
    if name == "content":
        yield from (None, *UNREADABLE)
    if name in ("sensitivity", "compartments", "items", "task", "key", "title", "tags") and name != "task":
        yield None


@every_writer
def test_every_field_is_of_its_type(world: World, door: Door) -> None:
    body = BODIES[door.path]
    for pointer, value in leaves(body):
        if any(step in FREE for step in pointer[:-1]) or pointer[0] == "value":
            continue
        for wrong in wrong_values(str(pointer[-1]), value):
            if wrong is None and (door.path, pointer[-1]) in NULLABLE:
                continue
            reply = world.send(door, replaced(body, pointer, wrong))
            if door.path == "observations/batch" and len(pointer) > 1 and wrong != 2**53 + 1:
                assert reply.status == 207, (pointer, wrong, reply)
                assert reply.data["results"][0]["error"]["status"] == 400
                continue
            if reply.status < 300 and wrong is None:
                continue
            errors = check(reply, 400, why=(pointer, wrong)).data["errors"]
            place = "".join(f"/{step}" for step in pointer)
            assert any(error["pointer"].startswith(f"/{pointer[0]}") for error in errors), (place, wrong, errors)


@every_writer
def test_unknown_and_read_only_fields(world: World, door: Door) -> None:
    body = BODIES[door.path]
    shape = getattr(door.signature.body, "__origin__", door.signature.body)
    for name in ("nope", "Key", "key ", "__class__", "", "team_id", "label_id", *Shape.read_only):
        if name in body:
            continue
        (error,) = check(world.send(door, {**body, name: "x"}), 400, why=name).data["errors"]
        assert error["pointer"] == f"/{name}"
        assert error["code"] == ("read_only_field" if name in shape.read_only else "unknown_field")


@every_writer
def test_required_fields(world: World, door: Door) -> None:
    required = {
        "tasks": {"key", "title"},
        "observations": {"content"},
        "observations/batch": {"items"},
        "decisions": {"task", "decision", "reasoning"},
        "decisions/{decided}/supersede": {"decision", "reasoning"},
        "decisions/{decided}/revoke": {"reason"},
        "decisions/{decided}/outcome": {"outcome"},
        "learnings": {"signal_type", "details"},
        "learnings/relevant": {"context"},
        "facts/{fact}": {"value"},
        "escalations": {"task", "reason_code", "reason", "question"},
    }
    body = BODIES[door.path]
    for name in required.get(door.path, {"token", "reason"} & body.keys()):
        (error,) = check(world.send(door, {key: body[key] for key in body if key != name}), 400).data["errors"]
        assert (error["pointer"], error["code"]) == (f"/{name}", "missing")


def test_all_faults_are_told_at_once(world: World) -> None:
    reply = check(world.api.post("tasks", {"key": "a b", "title": 1, "nope": 1, "id": "x"}), 400)
    assert {error["pointer"] for error in reply.data["errors"]} == {"/key", "/title", "/nope", "/id"}


@every_writer
def test_labels_that_are_none(world: World, door: Door) -> None:
    body = BODIES[door.path]
    if "sensitivity" not in body:
        return
    for bad in ("top-secret", "Confidential", "CONFIDENTIAL", "confidential ", None, 2, "internal+finance"):
        check(world.send(door, {**body, "sensitivity": bad}), 400, why=bad)
    for words in (
        ["Finance"],
        ["fin ance"],
        [""],
        ["x" * 41],
        ["-x"],
        ["a+b"],
        ["ä"],
        ["x"] * 21,
        None,
        "finance",
        [1],
    ):
        check(world.send(door, {**body, "compartments": words}), 400, why=words)
    for above in ({"sensitivity": "confidential"}, {"compartments": ["finance"]}):
        assert check(world.send(door, {**body, **above}), 403).code == "forbidden"


@every_writer
def test_keys_that_are_none(world: World, door: Door) -> None:
    body = BODIES[door.path]
    for name in {"key", "task", "action_key", "client_ref"} & body.keys():
        for bad in KEYS:
            check(world.send(door, {**body, name: bad}), 400, why=(name, bad))


@pytest.mark.parametrize("name", ["occurred_at", "expires_at"])
def test_dates_that_are_none(world: World, name: str) -> None:
    for bad in [*DATES, 1767225600, {}, ["x"]]:
        check(world.api.post("observations", {"content": "x", name: bad}), 400, why=bad)


@pytest.mark.parametrize("verb", ["tasks/free/claim", "tasks/held/renew", "tasks/claim-next"])
def test_times_to_live_that_are_none(world: World, verb: str) -> None:
    token = {"token": 1} if verb.endswith("renew") else {}
    for bad in (0, -1, 10**12, 3601, 2**53, 1.0, "60", True, None):
        check(world.api.post(verb, {**token, "ttl_seconds": bad}), 400, why=bad)


# Sizes


@every_writer
def test_a_body_that_is_too_large(world: World, door: Door) -> None:
    assert issubclass(door.view, BodyEndpoint)
    limit = door.view.max_bytes
    assert limit == (8 * MIB if door.path in ("observations/batch", "import/trajectories") else MIB)
    raw = json.dumps(BODIES[door.path]).encode()
    assert check(world.send(door, raw.ljust(limit + 1)), 413).code == "too_large"
    # What a client says of its size does not matter: it is read to the bound.
    assert check(world.send(door, raw.ljust(limit + 1), CONTENT_LENGTH=str(limit + 1)), 413).code == "too_large"


def test_a_body_of_too_many_parts(world: World) -> None:
    """Each list and object takes more memory than bytes of the body. Brackets in a text are none."""
    assert world.api.post("learnings/relevant", {"context": {"a": "[{" * 110_000 + '"\\[' * 10}}).status == 200
    for many in ([[]] * 200_000, [{}] * 200_000, [[[]]] * 100_000):
        assert check(world.api.post("observations/batch", {"items": many}), 413).code == "too_large"


def test_what_a_refusal_costs_grows_with_the_body_alone(world: World) -> None:
    """Each took an hour of the processor, or gigabytes, within 1 MiB."""
    unended = b"[" * 200_001 + b'"' + b'\\"' * 400_000
    name = "~" * 199 + "\U0001f600"
    deep = json.dumps([[]] * 30_000).encode()
    for _ in range(29):
        deep = b'{"%s":%s}' % (name.encode(), deep)
    begun, before = time.thread_time(), _memory()
    assert check(world.api.post("observations", unended), 413).code == "too_large"
    assert world.api.post("learnings/relevant", b'{"context":{"a":"\\u003a"},"x":%s}' % deep).status == 400
    enum = {"content": "x", "sensitivity": " - at `" * 100_000}
    assert check(world.api.post("observations", enum), 400).data["errors"][0]["pointer"] == "/sensitivity"
    assert world.api.post("observations", {"content": "x", "unknown field `" * 40_000: 1}).status == 400
    assert time.thread_time() - begun < 5
    assert _memory() - before < 200 << 20


def _memory() -> int:
    """The most bytes that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_content_over_256_kb(world: World) -> None:
    for size in (256 * 1024, 700 * 1024):
        big = "x" * size
        for path, body in (
            ("observations", {"content": big}),
            ("observations", {"content": {"a": big}}),
            ("tasks", {"key": "new", "title": "T", "metadata": {"a": big}}),
            ("decisions", {"task": "free", "decision": big, "reasoning": "r"}),
            ("learnings", {"signal_type": "pattern", "details": big}),
            ("learnings", {"signal_type": "pattern", "details": "x", "context": {"a": big}}),
            ("learnings/relevant", {"context": {"a": big}}),
            ("tasks/held/complete", {"token": 1, "outcome": {"a": big}}),
            ("escalations", {**BODIES["escalations"], "action": {"name": "x", "arguments": {"a": big}}}),
        ):
            (error,) = check(world.api.post(path, body), 400, why=path).data["errors"]
            assert error["code"] == "too_large"
    for path, body in (
        ("tasks", {"key": "new", "title": "x" * 201}),
        ("tasks", {"key": "new", "title": "T", "requester": "x" * 201}),
        ("tasks/done/reopen", {"reason": "x" * 20_001}),
        ("observations", {"content": "x", "tags": ["x"] * 51}),
        ("observations", {"content": "x", "tags": ["x" * 101]}),
    ):
        check(world.api.post(path, body), 400, why=path)


# Batches


def test_one_bad_item_in_a_batch_of_a_hundred(api: Api) -> None:
    items: list[Any] = [{"content": str(number)} for number in range(100)]
    items[41] = {"content": "x", "importance": 2}
    reply = api.post("observations/batch", {"items": items})
    assert reply.status == 207
    assert [result["status"] for result in reply.data["results"]] == ["created"] * 41 + ["error"] + ["created"] * 58
    assert reply.data["results"][41]["error"]["errors"][0]["pointer"] == "/items/41/importance"
    stored = [row["content"] for row in api.results("observations?limit=100")]
    assert stored == [str(number) for number in reversed(range(100)) if number != 41]


def test_items_that_are_none(world: World) -> None:
    items: list[Any] = [None, 1, "x", [], {}, {"content": None}, {"content": []}, {"content": "x", "items": []}]
    reply = world.api.post("observations/batch", {"items": items})
    assert reply.status == 207
    assert {result["error"]["status"] for result in reply.data["results"]} == {400}
    assert [result["error"]["errors"][0]["pointer"].split("/")[2] for result in reply.data["results"]] == [
        str(index) for index in range(len(items))
    ]
