"""Import keeps everything: runs of each kind that exports have, compared message by message with what the API shows."""

from typing import Any

import pytest

from memoryhub.core.models import Team
from tests.support.api import Api, make_api
from tests.support.recorded import (
    INLINE,
    KINDS,
    PICTURE,
    SHA_256,
    Row,
    calls,
    lacking,
    leaves,
    returned,
    rows_for,
    rows_of,
    said,
    tool,
    user,
)

WHERE = "import/trajectories"
every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def api(team: Team) -> Api:
    return make_api(team, scopes=["import", "tasks", "memory:read", "escalations"])


def imported(api: Api, messages: list[Any], **more: Any) -> list[Row]:
    reply = api.post(WHERE, {"runs": [{"task_id": "run", "messages": messages, **more}]})
    (result,) = reply.data["results"]
    assert (reply.status, result["status"]) == (200, "created"), result
    return rows_of(api, result["task"])


@every_kind
def test_every_member_of_every_message_is_readable_in_order(api: Api, kind: str) -> None:
    messages, rows = KINDS[kind], imported(api, KINDS[kind])
    assert lacking(messages, rows) == []
    assert all(rows_for(message, index, rows) for index, message in enumerate(messages)), "the empty ones, too"
    positions = [row.position for row in rows]
    assert positions == sorted(positions)
    assert len({row.ref for row in rows}) == len(rows)


@every_kind
def test_what_were_dropped_would_be_noticed(api: Api, kind: str) -> None:
    """The control: the comparison finds a member that is not in the memory, and each message whose rows are not."""
    messages, rows = KINDS[kind], imported(api, KINDS[kind])
    for index, message in enumerate(messages):
        dropped = [*messages[:index], {**message, "dropped": {"here": 0.125}}, *messages[index + 1 :]]
        assert lacking(dropped, rows) == [(index, "dropped"), (index, "here"), (index, "number 0.125")]
        mine = rows_for(message, index, rows)
        without = lacking(messages, [row for row in rows if row not in mine])
        assert index in {place for place, _ in without} or not list(leaves(message))


@every_kind
def test_the_same_twice_makes_no_row_twice(api: Api, kind: str) -> None:
    rows = imported(api, KINDS[kind])
    reply = api.post(WHERE, {"runs": [{"task_id": "run", "messages": KINDS[kind]}]})
    assert [result["status"] for result in reply.data["results"]] == ["duplicate"]
    assert rows_of(api, "run") == rows


def only(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def test_texts_stay_as_they_are_where_a_message_has_no_more(api: Api) -> None:
    rows = imported(api, [user("Hi."), said([{"type": "text", "text": "Hello"}, {"type": "text", "text": "you."}])])
    assert [(row.ref, row.content, row.tags) for row in rows] == [
        ("run:0", "Hi.", ("user",)),
        ("run:1", "Hello\nyou.", ("reply",)),
    ]


def test_long_texts_are_numbered_parts(api: Api) -> None:
    rows = imported(api, KINDS["long texts"])
    decision = only([row for row in rows if row.ref == "run:2.0"])
    assert decision.content == {"tool": "book_room", "arguments": {"why": "long"}, "call": "b1", "reasoning_parts": 4}
    rest = [row for row in rows if row.ref.startswith("run:2~")]
    assert [(row.ref, row.content["part"], row.content["of"]) for row in rest] == [
        (f"run:2~r{part}", part, 4) for part in (2, 3, 4)
    ]
    said_by_user = [row.content for row in rows if row.position == 1]
    assert [content["part"] for content in said_by_user] == list(range(1, len(said_by_user) + 1))
    assert "".join(content["content"] for content in said_by_user) == KINDS["long texts"][1]["content"]


def test_a_long_summary_is_whole_in_the_package_of_its_escalation(api: Api) -> None:
    rows = imported(api, KINDS["a long summary"])
    escalation = only(api.results("escalations?limit=100"))
    package = api.get(f"escalations/{escalation['id']}/package?limit=100").data["full_context"]["observations"]
    parts = sorted((row["content"] for row in package if "summary" in row["content"]), key=lambda part: part["part"])
    summary = rows[1].content["arguments"]["summary"]
    assert escalation["reason"] + "".join(part["summary"] for part in parts) == summary
    assert [part["part"] for part in parts] == [2, 3, 4]
    assert {"order": 5, "urgent": True}.items() <= rows[1].content["arguments"].items()


def test_thoughts_and_prompts_are_the_agents_own(api: Api, team: Team) -> None:
    rows = imported(api, [*KINDS["thoughts"], *KINDS["Anthropic"][2:3], {"role": "critic", "content": "Hm."}])
    mine = {row.ref for row in rows if row.private}
    texts = ("They want", "Or a no", "No is safer", "Is it?", "It is.", "just words", "really due", "look at both")
    for text in texts:
        assert {row.ref for row in rows if text in str(row.content)} <= mine, text
    seen = {row.ref for row in rows_of(make_api(team), "run")}
    assert seen == {row.ref for row in rows} - mine


DATA = f"data:image/png;base64,{INLINE}"
FILES: dict[str, Any] = {
    "a data URL": {"type": "image_url", "image_url": {"url": DATA, "detail": "low"}},
    "Anthropic's base64": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": INLINE}},
    "a sound": {"type": "input_audio", "input_audio": {"data": INLINE, "format": "wav"}},
    "a file": {"type": "file", "file": {"filename": "plan.png", "file_data": DATA}},
}


@pytest.mark.parametrize("kind", FILES)
def test_an_inline_file_that_no_row_can_hold_is_described_there_and_in_the_answer(api: Api, kind: str) -> None:
    messages = [
        user([{"type": "text", "text": "Look:"}, FILES[kind]]),
        calls(tool("get_picture", {}, "p1")),
        returned("p1", [FILES[kind]]),
        calls(tool("send_picture", {"picture": FILES[kind]}, "p2")),
    ]
    reply = api.post(WHERE, {"runs": [{"task_id": "run", "messages": messages}]})
    assert [result["described"] for result in reply.data["results"]] == [3]
    shown = [str(row.content) for row in rows_of(api, "run")]
    assert len(shown) == 3
    for text in shown:
        assert f"{len(PICTURE)} bytes, SHA-256 {SHA_256}]" in text
        assert INLINE[:100] not in text
        assert "image/png" in text or "wav" in text
    assert "Look:" in shown[0]
    again = api.post(WHERE, {"runs": [{"task_id": "run", "messages": messages}]})
    assert [(result["status"], result["described"]) for result in again.data["results"]] == [("duplicate", 3)]


def test_an_inline_file_stays_where_its_row_can_hold_it(api: Api) -> None:
    small = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{INLINE[:100_000]}"}}
    row = only(imported(api, [user([small])]))
    assert row.content == {"content": [small]}


@pytest.mark.parametrize(
    "when", ["yesterday", "2026-01-31T09:30:00", "2026-02-30T09:30:00Z", -1, True, 1e15 + 1e18, {}, [1], "1769853600"]
)
def test_a_time_that_is_none_is_refused_with_its_place_and_what_to_send(api: Api, when: Any) -> None:
    reply = api.post(WHERE, {"runs": [{"task_id": "run", "messages": [user("a"), user("b", created_at=when)]}]})
    (result,) = reply.data["results"]
    fault = result["error"]["errors"][0]
    assert (result["status"], fault["pointer"]) == ("error", "/runs/0/messages/1/created_at")
    assert fault["code"] in ("bad_format", "out_of_range")
    assert "2026-01-31T09:30:00Z" in fault["detail"] or "send it as text" in fault["detail"]


def test_metadata_of_a_run_are_kept_and_other_members_named(api: Api) -> None:
    metadata = {"model": "m-1", "tools": [{"name": "get_x"}]}
    imported(api, [user("Hi.")], metadata=metadata, trial=3, reward=0.5)
    kept = api.get("tasks/run-3").data["metadata"]["imported"]
    assert (kept["task_id"], kept["trial"], kept["reward"], kept["metadata"]) == ("run", 3, 0.5, metadata)
    reply = api.post(WHERE, {"runs": [{"task_id": "other", "messages": [user("Hi.")], "tools": []}]})
    fault = reply.data["results"][0]["error"]["errors"][0]
    assert (fault["pointer"], fault["code"]) == ("/runs/0/tools", "unknown_field")
    for known in ("tools", "messages", "task_id", "trial", "reward", "metadata"):
        assert known in fault["detail"]
