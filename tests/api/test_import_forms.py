"""The forms in which an import takes runs, over HTTP and from a file, and what it says of those it does not take."""

import gzip
import json
import time
import zlib
from collections.abc import Callable
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from memoryhub.core.models import Team
from memoryhub.core.work import doing
from tests.support.api import Api, Reply, at_once, make_api
from tests.support.factories import make_team
from tests.support.leaving import Counting
from tests.support.recorded import KINDS, rows_of
from tests.support.runs import DONE, HANDED, USER

WHERE = "import/trajectories"
BOM, MIB = b"\xef\xbb\xbf", 1024 * 1024
RUNS = [DONE, HANDED, {"task_id": "thoughts", "messages": KINDS["thoughts"]}]
KEYS = ["7-0", "8-2", "thoughts"]
LINES = {"content_type": "application/x-ndjson"}


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, scopes=["import", "tasks", "memory:read", "escalations"])


def dumped(value: Any, **options: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, **options).encode()


def send(api: Api, body: bytes, *, zipped: bool = False, **sent: Any) -> Reply:
    return api.post(WHERE, body, headers={"Content-Encoding": "gzip"} if zipped else None, **sent)


def statuses(reply: Reply) -> list[str]:
    return [result["status"] for result in reply.data["results"]]


def first_error(reply: Reply) -> tuple[str, str]:
    error = next(result["error"] for result in reply.data["results"] if result["status"] == "error")
    return error["errors"][0]["pointer"], error["detail"]


as_lines = b"\n".join(map(dumped, RUNS))
# Each with the runs that it has, and how it is sent.
FORMS: dict[str, tuple[bytes, int, dict[str, Any]]] = {
    "an object with runs": (dumped({"runs": RUNS}), 3, {}),
    "an array": (dumped(RUNS), 3, {}),
    "an array, indented": (dumped(RUNS, indent=2), 3, {}),
    "an array, a run a line": (b"[\n" + b",\n".join(map(dumped, RUNS)) + b"\n]\n", 3, {}),
    "an array of one, a run a line": (b"[\n" + dumped(DONE) + b"\n]\n", 1, {}),
    "one run": (dumped(DONE), 1, {}),
    "one run, indented, with a byte order mark": (BOM + dumped(DONE, indent="\t"), 1, {}),
    "an array with a byte order mark": (BOM + dumped(RUNS), 3, {}),
    "JSON lines": (as_lines, 3, LINES),
    "JSON lines, of the other name": (as_lines + b"\n", 3, {"content_type": "application/jsonl; charset=utf-8"}),
    "JSON lines with blank ones, CRLF and a byte order mark": (
        BOM + b"\r\n \r\n" + as_lines.replace(b"\n", b"\r\n\r\n  ") + b"\r\n\t\r\n",
        3,
        LINES,
    ),
    "one line": (dumped(HANDED) + b"\n", 1, LINES),
}
every_form = pytest.mark.parametrize("form", FORMS)


def shown(rows: list[Any]) -> list[Any]:
    return [[(row.ref, row.content, row.text, row.tags, row.times, row.private) for row in run] for run in rows]


@every_form
@pytest.mark.parametrize("zipped", [False, True], ids=["as it is", "gzip"])
def test_each_form_stores_the_same(api: Api, form: str, zipped: bool) -> None:
    body, count, sent = FORMS[form]
    reply = send(api, gzip.compress(body) if zipped else body, zipped=zipped, **sent)
    assert (reply.status, statuses(reply)) == (200, ["created"] * count), reply
    keys = [result["task"] for result in reply.data["results"]]
    plain = make_api(make_team(), scopes=["import", "tasks", "memory:read", "escalations"])
    assert plain.post(WHERE, {"runs": [run for run, key in zip(RUNS, KEYS, strict=True) if key in keys]}).status == 200
    assert shown([rows_of(api, key) for key in keys]) == shown([rows_of(plain, key) for key in keys])
    assert statuses(send(api, body, **sent)) == ["duplicate"] * count


@every_form
@pytest.mark.parametrize("zipped", [False, True], ids=["as it is", "gzip"])
def test_the_command_takes_each_form(team: Team, tmp_path: Path, form: str, zipped: bool) -> None:
    body, count, _ = FORMS[form]
    path = tmp_path / "recorded"
    path.write_bytes(gzip.compress(body) if zipped else body)
    out = StringIO()
    call_command("import_trajectories", str(path), team=team.slug, stdout=out, stderr=out)
    assert f"{count} runs, 0 of them there already; made {count} tasks" in out.getvalue()


def test_a_file_of_any_size_is_read_line_by_line(team: Team, tmp_path: Path) -> None:
    too_large = b'{"messages":[{"role":"user","content":"' + b"x" * (9 * MIB) + b'"}]}\n'
    path = tmp_path / "recorded.jsonl.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(BOM + dumped(DONE) + b"\n" + too_large * 8 + b"\r\n" + dumped(HANDED))
    out, err = StringIO(), StringIO()
    with pytest.raises(SystemExit):
        call_command("import_trajectories", str(path), team=team.slug, stdout=out, stderr=err)
    assert "made 2 tasks" in out.getvalue()
    lines = err.getvalue().splitlines()
    assert [line.split(":")[1] for line in lines] == [str(number) for number in range(2, 10)]
    assert all("/messages/0: This message is larger than" in line for line in lines)
    path.write_bytes(b"[" + b" " * (64 * MIB) + b"]")
    with pytest.raises(CommandError, match="The file is larger than 67108864 bytes, and has no run per line"):
        call_command("import_trajectories", str(path), team=team.slug)


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "UTF-16": (json.dumps(RUNS).encode("utf-16"), "UTF-16 (little-endian); send UTF-8"),
    "UTF-16 without its mark": (json.dumps(RUNS).encode("utf-16-be"), "UTF-16 (big-endian); send UTF-8"),
    "UTF-32": (json.dumps(RUNS).encode("utf-32"), "UTF-32; send UTF-8"),
    "UTF-32 without its mark": (json.dumps(RUNS).encode("utf-32-le"), "UTF-32; send UTF-8"),
    "gzip without the header": (gzip.compress(gzip.compress(dumped(RUNS))), "is gzip"),
    "nothing": (b" \n", "is empty"),
    "a text": (b'"run"', "must be a JSON object"),
    "half": (dumped(RUNS)[:-5], "not JSON"),
    "two values": (dumped(RUNS[0]) + b"\n" + dumped([]), "JSON lines"),
    "runs twice": (b'{"runs": [], "runs": []}', "twice"),
    "too deep": (b"[" * 100_000, "too deep"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_named_with_what_to_send(api: Api, team: Team, tmp_path: Path, kind: str) -> None:
    body, words = UNREADABLE[kind]
    reply = api.post(WHERE, body)
    assert reply.refusal == (400, "invalid_json")
    assert words in reply.data["detail"]
    (tmp_path / "recorded").write_bytes(body)
    if kind not in ("two values", "runs twice"):  # of which a file says where it is no run
        with pytest.raises(CommandError, match="The file"):
            call_command("import_trajectories", str(tmp_path / "recorded"), team=team.slug)
    assert api.results("tasks") == []


def test_no_runs_and_too_many(api: Api) -> None:
    for body, sent in ((b"[]", {}), (b'{"runs": []}', {}), (b"[]", {}), (b"\n\n", LINES)):
        assert api.post(WHERE, body, **sent).status == 400, body
    many = [{"task_id": number, "messages": [USER]} for number in range(101)]
    for body, sent in ((dumped(many), {}), (dumped({"runs": many}), {}), (b"\n".join(map(dumped, many)), LINES)):
        assert api.post(WHERE, body, **sent).refusal == (400, "invalid"), body[:20]
    assert api.results("tasks") == []


def test_a_bad_run_of_an_array_or_of_lines_stops_no_other(api: Api) -> None:
    bad = {"task_id": "bad", "messages": [{"role": "user", "content": "x", "created": "never"}]}
    reply = api.post(WHERE, dumped([DONE, bad, HANDED]))
    assert (reply.status, statuses(reply)) == (207, ["created", "error", "created"])
    assert first_error(reply)[0] == "/1/messages/0/created"
    reply = api.post(WHERE, dumped(DONE) + b"\n\n{nonsense\n" + dumped(HANDED), **LINES)
    assert (reply.status, statuses(reply)) == (207, ["duplicate", "error", "duplicate"])
    pointer, detail = first_error(reply)
    assert pointer == "/1"
    assert detail.startswith("Line 3 is not JSON")
    assert first_error(api.post(WHERE, dumped(bad)))[0] == "/messages/0/created"


# gzip


def test_broken_gzip_is_told(api: Api) -> None:
    whole = gzip.compress(dumped(RUNS))
    cases = {
        whole[:-9]: "truncated",
        whole[:12]: "truncated",
        whole[:-8] + b"\0" * 8: "not gzip",
        dumped(RUNS): "not gzip",
        zlib.compress(dumped(RUNS)): "not gzip",
        whole + b"rest": "not gzip",
        gzip.compress(whole): "gzip (again)",
        gzip.compress(b""): "empty",
    }
    for body, words in cases.items():
        reply = send(api, body, zipped=True)
        assert reply.refusal == (400, "invalid_json"), words
        assert words in reply.data["detail"]
    assert api.results("tasks") == []


def test_gzip_of_several_members_is_read_and_of_very_many_refused(api: Api) -> None:
    text = dumped(RUNS)
    assert send(api, gzip.compress(text[:900]) + gzip.compress(text[900:]), zipped=True).status == 200
    assert send(api, gzip.compress(b" ") * 100_000, zipped=True).refusal == (413, "too_large")


def test_what_is_too_large_compressed_or_not_is_refused_before_it_is_read(api: Api) -> None:
    begun = time.process_time()
    bomb = gzip.compress(b" " * (65 * MIB))
    assert send(api, bomb, zipped=True).refusal == (413, "too_large")
    assert send(api, b"\0" * (8 * MIB + 1), zipped=True).refusal == (413, "too_large")
    asked = Counting()
    with doing(asked):
        send(api, gzip.compress(b" " * (500 * MIB), 1), zipped=True)
    assert asked.asked < 200, "after 64 MiB it is not decompressed further"
    assert time.process_time() - begun < 20


def test_decompressing_stops_when_the_client_leaves(api: Api) -> None:
    with doing(leaving := Counting(5)):
        assert send(api, gzip.compress(b" " * (60 * MIB), 1), zipped=True).refusal == (503, "unavailable")
    assert leaving.asked <= 7


@pytest.mark.parametrize("encoding", ["br", "deflate", "identity", "gzip, gzip", "zstd", ""])
def test_other_encodings_and_types_are_told_what_is_taken(api: Api, encoding: str) -> None:
    reply = api.post(WHERE, dumped(RUNS), headers={"Content-Encoding": encoding})
    assert (reply.status, reply.headers["Accept-Encoding"]) == (415, "gzip")
    assert "gzip" in reply.data["detail"]
    reply = api.post(WHERE, dumped(RUNS), content_type="text/csv")
    assert (reply.status, reply.headers["Accept"]) == (
        415,
        "application/json, application/x-ndjson, application/jsonl",
    )


def test_the_same_gzip_at_once_and_with_one_key(api: Api) -> None:
    body = gzip.compress(as_lines)
    replies = at_once(*[partial(send, api, body, zipped=True, **LINES)] * 3)
    assert sorted(status for reply in replies for status in statuses(reply)) == ["created"] * 3 + ["duplicate"] * 6
    replies = at_once(*[partial(send, api, body, zipped=True, key="once", **LINES)] * 3)
    assert [reply.data for reply in replies] == [replies[0].data] * 3
    # The key's body is what was compressed.
    assert send(api, as_lines, key="once", **LINES).data == replies[0].data
    assert send(api, as_lines + b"\n", key="once", **LINES).refusal == (422, "idempotency_mismatch")


# What a small body could make of itself


HOSTILE: dict[str, Callable[[], bytes]] = {
    "elements": lambda: b"[" + b"1," * (30 * MIB) + b"1]",
    "objects": lambda: b"[" + b"{}," * (20 * MIB) + b"{}]",
    "messages": lambda: b'{"messages":[' + b"1," * (30 * MIB) + b"1]}",
    "members": lambda: b"{" + b'"":1,' * (12 * MIB) + b'"messages":[]}',
    "members of a run": lambda: b'{"runs":[{' + b'"a":1,' * (10 * MIB) + b'"messages":[]}]}',
    "blank lines": lambda: b"\n" * (63 * MIB),
    "spaces": lambda: b" " * (63 * MIB) + b"x",
    "colons": lambda: b'{"runs":["' + b":" * (60 * MIB) + b'"]}',
    "depth": lambda: b'{"runs":[{"messages":' + b"[" * (60 * MIB),
}


@pytest.mark.parametrize("kind", [*HOSTILE, "messages in a line", "blank lines in lines", "spaces in lines"])
def test_hostile_bodies_take_little_time(api: Api, kind: str) -> None:
    name, _, lines = kind.partition(" in ")
    body = gzip.compress(HOSTILE[name](), 1)
    begun = time.process_time()
    reply = send(api, body, zipped=True, **(LINES if lines else {}))
    assert time.process_time() - begun < 3
    assert reply.status in (207, 400, 413), reply.status
    assert api.results("tasks") == []
