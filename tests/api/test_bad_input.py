"""PROMISES.md, "Bad input", over every address of the API: the right refusal as a problem, and nothing is stored."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from agents.api.doors import Writing
from memoryhub.interface.shapes import Shape
from tests.api.client import Api, Reply
from tests.api.endpoints import BODIES, DOORS, READERS, WRITERS, Door, World, make_world
from tests.factories import make_team

MIB = 1024 * 1024
TABLES = ("event", "task", "observation", "decision", "escalation", "escalation_note", "escalation_answer", "label")
UNREADABLE = ["", " ", "\u200b\u2060", "\u00a0\t"]

every_writer = pytest.mark.parametrize("door", WRITERS, ids=str)
every_reader = pytest.mark.parametrize("door", READERS, ids=str)


@pytest.fixture(scope="module")
def whole_world() -> World:
    """Made once: nothing here changes it."""
    return make_world(make_team())


@pytest.fixture
def world(whole_world: World, owner_sql: Any) -> Iterator[World]:
    """The world, which must be as it was when the test ends."""
    team = [whole_world.team.id]

    def stored() -> list[Any]:
        states = owner_sql.execute("select key, version, status from task where team_id = %s order by 1", team)
        counts = [owner_sql.execute(f"select count(*) from {table} where team_id = %s", team) for table in TABLES]
        return [states.fetchall(), *(count.fetchone() for count in counts)]

    before = stored()
    yield whole_world
    assert stored() == before


def check(reply: Reply, *statuses: int, why: object = None) -> Reply:
    """A problem of one of these statuses, whole and without HTML."""
    assert reply.status in statuses, (why, reply)
    assert reply.headers["Content-Type"] == "application/problem+json", (why, reply)
    members = {"type", "title", "status", "code", "detail", "errors", "request_id"}
    assert members <= reply.data.keys(), (why, reply)
    assert reply.data["status"] == reply.status
    assert reply.data["detail"], (why, reply)
    return reply


def test_every_address_is_known_here(world: World) -> None:
    assert {door.path for door in WRITERS} == BODIES.keys()
    for door in READERS:
        assert world.get(door).status == 200, door


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
    for raw in raw_bodies(BODIES[door.path]):
        reply = check(world.send(door, raw), 400, why=raw[:200])
        assert reply.code == "invalid_json", (raw[:200], reply)
    if not door.view.body_optional:  # type: ignore[attr-defined]
        # Django's test client sends no media type for an empty body.
        reply = check(world.send(door, b"", CONTENT_TYPE="application/json"), 400)
        assert reply.code == "invalid_json"


@every_writer
def test_nul_and_surrogates_inside_every_text(world: World, door: Door) -> None:
    for pointer, value in leaves(BODIES[door.path]):
        if isinstance(value, str):
            for bad in ("\0", "a\0", "\ud800"):
                raw = json.dumps(replaced(BODIES[door.path], pointer, bad)).encode()
                assert check(world.send(door, raw), 400, why=(pointer, bad)).code == "invalid_json"


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


# Bodies of the wrong shape

FREE = {"metadata", "content", "decision", "arguments", "schema", "outcome"}  # inside these anything goes


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
        if any(step in FREE for step in pointer[:-1]):
            continue
        for wrong in wrong_values(str(pointer[-1]), value):
            reply = world.send(door, replaced(body, pointer, wrong))
            if door.path == "observations/batch" and len(pointer) > 1:
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
    shape = door.view.shape  # type: ignore[attr-defined]
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


KEYS = ["a b", "a/b", "ä", "x" * 201, "a\n", "a%", "{x}", "a\r\nb", "'", "a\u200bb"]


@every_writer
def test_keys_that_are_none(world: World, door: Door) -> None:
    body = BODIES[door.path]
    for name in {"key", "task", "action_key", "client_ref"} & body.keys():
        for bad in KEYS:
            check(world.send(door, {**body, name: bad}), 400, why=(name, bad))


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


@pytest.mark.parametrize("name", ["occurred_at", "expires_at"])
def test_dates_that_are_none(world: World, name: str) -> None:
    for bad in [*DATES, 1767225600, {}, ["x"]]:
        check(world.api.post("observations", {"content": "x", name: bad}), 400, why=bad)


@pytest.mark.parametrize("verb", ["tasks/free/claim", "tasks/held/renew", "tasks/claim-next"])
def test_times_to_live_that_are_none(world: World, verb: str) -> None:
    token = {"token": 1} if verb.endswith("renew") else {}
    for bad in (0, -1, 10**12, 3601, 2**53, 1.0, "60", True, None):
        check(world.api.post(verb, {**token, "ttl_seconds": bad}), 400, why=bad)


def test_ids_that_are_none(world: World) -> None:
    body = BODIES["decisions"]
    good = "0198c0de-0000-7000-8000-000000000000"
    for bad in (
        "abc",
        2**64 - 1,
        str(2**64),
        f"{{{good}}}",
        f"urn:uuid:{good}",
        f" {good}",
        good[:-1],
        "\u0660" * 36,
        None,
    ):
        check(world.api.post("decisions", {**body, "based_on": [bad]}), 400, why=bad)
    check(world.api.post("decisions", {**body, "based_on": [good] * 101}), 400)
    for door in DOORS:
        if "{queued}" in door.path or "{answered}" in door.path:
            for bad in ("abc", str(2**64), f"%7B{good}%7D", good.upper(), "%D9%A1", "%00", good[:-1], good + "0"):
                path = door.path.format(queued=bad, answered=bad)
                sent = {door.method or "GET", "GET" if door.reads else door.method}
                for method in sent:
                    check(world.api.send(str(method), path, BODIES.get(door.path)), 404, why=path)


# Sizes


@every_writer
def test_a_body_that_is_too_large(world: World, door: Door) -> None:
    assert issubclass(door.view, Writing)
    limit = door.view.max_bytes
    assert limit == (8 * MIB if door.path == "observations/batch" else MIB)
    raw = json.dumps(BODIES[door.path]).encode()
    assert check(world.send(door, raw.ljust(limit + 1)), 413).code == "too_large"
    # What a client says of its size does not matter: it is read to the bound.
    assert check(world.send(door, raw.ljust(limit + 1), CONTENT_LENGTH=str(limit + 1)), 413).code == "too_large"


def test_content_over_256_kb(world: World) -> None:
    for size, statuses in ((256 * 1024, (400,)), (700 * 1024, (400,))):
        big = "x" * size
        for path, body in (
            ("observations", {"content": big}),
            ("observations", {"content": {"a": big}}),
            ("tasks", {"key": "new", "title": "T", "metadata": {"a": big}}),
            ("decisions", {"task": "free", "decision": big, "reasoning": "r"}),
            ("tasks/held/complete", {"token": 1, "outcome": {"a": big}}),
            ("escalations", {**BODIES["escalations"], "action": {"name": "x", "arguments": {"a": big}}}),
        ):
            (error,) = check(world.api.post(path, body), *statuses, why=path).data["errors"]
            assert error["code"] == "too_large"
    for path, body in (
        ("tasks", {"key": "new", "title": "x" * 201}),
        ("tasks", {"key": "new", "title": "T", "requester": "x" * 201}),
        ("tasks/done/reopen", {"reason": "x" * 20_001}),
        ("observations", {"content": "x", "tags": ["x"] * 51}),
        ("observations", {"content": "x", "tags": ["x" * 101]}),
    ):
        check(world.api.post(path, body), 400, why=path)


# What surrounds a body


@every_writer
def test_media_types(world: World, door: Door) -> None:
    good = json.dumps(BODIES[door.path]).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=bogus",
        "application/json; charset=utf-16",
        "application/xml",
        "",
    ):
        if good != b"{}" or not door.view.body_optional:  # type: ignore[attr-defined]
            assert check(world.send(door, good, content_type=kind), 415, why=kind).code == "unsupported_media_type"
    for encoding in ("gzip", "br", "identity"):
        check(world.send(door, good, headers={"Content-Encoding": encoding}), 415, why=encoding)


@pytest.mark.parametrize("door", DOORS, ids=str)
def test_other_methods(world: World, door: Door) -> None:
    allowed = {"GET", "HEAD"} if door.reads else set()
    allowed |= {door.method} if door.method else set()
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "NOPE", "CONNECT"} - allowed:
        reply = check(world.api.send(method, door.path.format(**world.rows), {}), 405, why=method)
        assert (
            set(reply.headers["Allow"].replace("OPTIONS", "").replace(" ", "").strip(",").split(",")) - {""} <= allowed
        )


def test_a_method_is_not_overridden(world: World) -> None:
    for header in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert world.api.send("GET", "tasks", {"key": "new", "title": "T"}, headers={header: "POST"}).status == 200
    check(world.api.post("tasks?_method=GET", {"key": "new", "title": "T"}), 400)


def test_addresses_that_are_none(world: World) -> None:
    for path in (
        "nope",
        "tasks/",
        "tasks//claim",
        "tasks/a%20b",
        "tasks/a%2Fb",
        "tasks/%00",
        "tasks/%ff",
        f"tasks/{'x' * 201}",
        "tasks/a%0D%0Ab",
        "tasks/free/nope",
        "Tasks",
        "../v1/tasks",
        "tasks/free/claim/",
    ):
        check(world.api.get(path), 404, why=path)
        check(world.api.post(path), 404, why=path)


def test_a_foreign_host(world: World) -> None:
    for host in ("evil.example", "localhost.evil.example", "a b", "localhost\r\nX: y", ""):
        reply = world.api.send("GET", "tasks", HTTP_HOST=host)
        check(reply, 400, why=host)


def test_cr_and_lf_in_values(world: World) -> None:
    for body in ({"key": "new", "title": "a\r\nb"}, {"key": "new", "title": "a\nb"}, {"key": "a\r\n", "title": "T"}):
        check(world.api.post("tasks", body), 400, why=body)
    check(world.api.get("agents?cursor=%0D%0A"), 400)
    reply = world.api.get("me", headers={"X-Request-Id": "a\r\nSet-Cookie: x=y"})
    assert "\n" not in reply.headers["X-Request-Id"]


# Queries


@every_reader
def test_queries(world: World, door: Door) -> None:
    for query in ("nope=1", "ordering=key", "order_by=id", "%00=1", "%ff=1", "id=abc", "team=x", "page=2", "=", "=x"):
        check(world.get(door, f"?{query}"), 400, why=query)
    for query in ("a=" + "x" * 100_000, "&" * 9000):
        check(world.get(door, f"?{query}"), 414, why=query[:20])
    for name in door.view.parameters:
        for query in (f"{name}=", f"{name}=%00", f"{name}=%ff", f"{name}=%ED%A0%80", f"{name}=1&{name}=1"):
            check(world.get(door, f"?{query}"), 400, why=query)


WRONG: dict[str, list[str]] = {
    "limit": ["-1", "0", "101", "1000000000", "1e9", "abc", "1_0", "1.0", "%D9%A1", "+1", "%201", "01", str(2**64)],
    "cursor": ["x", "%00", "AAAA", "..", "A" * 5000, "%C3%A9", "'"],
    "status": ["nope", "Open", "open,done"],
    "state": ["nope", "Queued"],
    "tags_mode": ["some"],
    "tags": [",", "a,,b", "%E2%80%8B", ",".join(map(str, range(51)))],
    "exclude_own": ["1", "True", "yes"],
    "after_seq": ["-1", "abc", "1.0", str(2**53 + 1), "9" * 5000, "%D9%A1"],
    "min_importance": ["-1", "1.1", "2", "nan", "inf", "1e-1", "%D9%A1", ".5"],
    "since": [*DATES, "0", "%00"],
    "until": [*DATES, "0"],
    "task": ["a b", "x" * 201, "'", "%7Bx%7D", "a/b"],
    "label": ["top-secret", "Confidential", "internal%2B", "internal%2BÄ".replace("Ä", "%C3%84"), "%2Bfinance"],
    "q": ["x" * 201, "%20", "%E2%80%8B", " OR ".join(["a"] * 1000).replace(" ", "%20")],
    "agent": ["x" * 101, "%20"],
    "exclude_agent": ["x" * 101, "%E2%80%8B"],
    "held_by": ["x" * 101, "%20"],
}


@every_reader
def test_parameters_that_are_none(world: World, door: Door) -> None:
    for name in door.view.parameters:
        for bad in WRONG[name]:
            value = bad.replace("+", "%2B") if name in ("since", "until", "limit") else bad
            reply = check(world.get(door, f"?{name}={value}"), 414 if len(value) > 8000 else 400, why=(name, bad))
            assert reply.data["errors"] == [] or reply.data["errors"][0]["pointer"] == f"?{name}"


def test_searching_for_odd_words(world: World) -> None:
    for word in (
        "'",
        "%25",
        "_",
        "%5C",
        "a%20%26%20%7C%20b",
        "''%20or%201=1--",
        "%22",
        "*",
        "%C3%A9",
        "%F0%9F%98%80",
        "{}",
    ):
        reply = world.api.get(f"tasks?q={word}")
        assert (reply.status, reply.data["results"]) == (200, []), word
    for name in ("agent", "exclude_agent"):
        assert world.api.get(f"observations?{name}='%20or%201=1--").status == 200


@every_writer
def test_writes_take_no_query(world: World, door: Door) -> None:
    for query in ("nope=1", "limit=1", "team=x", "%00=1"):
        path = f"{door.path.format(**world.rows)}?{query}"
        reply = world.api.send(str(door.method), path, BODIES[door.path], headers=world.headers(door))
        check(reply, 400, why=query)


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
