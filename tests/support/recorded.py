"""Recorded runs of each kind that exports have, and what of each message must be readable afterwards."""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.support.api import Api

Json = dict[str, Any]
TIMES = ("occurred_at", "timestamp", "created_at", "createdAt", "create_time", "created", "sent_at")


@dataclass(frozen=True)
class Row:
    """A row of the memory. `text`: a reasoning or a reason; `times`: when it was, and when its call was."""

    ref: str
    content: Any = None
    text: str = ""
    tags: tuple[str, ...] = ()
    times: tuple[datetime, ...] = ()
    private: bool = False

    @property
    def position(self) -> int:
        """The index of the message that it is of."""
        found = re.match(r"\d+", self.ref.rpartition(":")[2])
        assert found is not None, self.ref
        return int(found[0])


LONG = " ".join(f"sentence {number} of a long explanation." for number in range(2000))  # 80,000 characters
WIDE = "Ärger mit \U0001f426 und \u0001 Zeichen. " * 20_000  # 500,000 characters, 900 kB as JSON
PICTURE = b"\x89PNG" + bytes(range(256)) * 1200  # 307 kB, 410 kB as base64
SHA_256 = hashlib.sha256(PICTURE).hexdigest()
INLINE = base64.b64encode(PICTURE).decode()
SMALL = base64.b64encode(b"a small sound" * 100).decode()


def tool(name: str, arguments: Any, call_id: str, **more: Any) -> Json:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}, **more}


def calls(*given: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(given), **more}


def returned(call_id: str, content: Any, **more: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def user(content: Any, **more: Any) -> Json:
    return {"role": "user", "content": content, **more}


def said(content: Any, **more: Any) -> Json:
    return {"role": "assistant", "content": content, **more}


HANDOFF = "transfer_to_human_agents"
KINDS: dict[str, list[Json]] = {
    "a refusal": [
        user("Tell me the other guest's room."),
        said(None, refusal="I cannot share another guest's room.", annotations=[], audio=None, tool_calls=None),
        said([{"type": "refusal", "refusal": "Nor their name."}]),
        said("I can pass on a message.", refusal="but not where they sleep"),
    ],
    "calls without results": [
        calls(tool("get_room", {"number": 12}, "r1"), tool("list_guests", {}, "r2", index=1)),
        returned("r2", "nobody"),
        calls(tool("get_weather", "{not JSON", "r3"), content="Let me look at the sky."),
        calls(tool("book_room", {"number": 14}, "r4"), content="Room 14 is free."),
    ],
    "long texts": [
        {"role": "system", "content": LONG + " System."},
        user(WIDE),
        calls(tool("book_room", {"why": "long"}, "b1"), tool("pay", {}, "b2"), content=LONG),
        returned("b1", LONG * 5),
        returned("b2", json.dumps({"ok": [LONG * 4]})),
        calls(tool("cancel_room", {"story": LONG * 5}, "b3")),
        calls(tool("get_story", {"story": LONG * 5}, "b4")),
    ],
    "a long summary": [
        user("I want a person."),
        calls(tool(HANDOFF, {"summary": LONG, "order": 5, "urgent": True}, "h1")),
        returned("h1", "Transfer successful"),
    ],
    "a summary beside": [user("Help."), calls(tool(HANDOFF, "", "h1"), content=LONG), returned("h1", "ok")],
    "pictures and files of OpenAI": [
        user(
            [
                {"type": "text", "text": "What is in this picture?"},
                {"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png", "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": SMALL, "format": "wav"}},
                {"type": "file", "file": {"file_id": "file-abc", "filename": "bill.pdf"}},
            ]
        ),
        said("A cat.", audio={"id": "audio_1", "transcript": "A cat, it seems."}),
        returned(
            "none",
            [{"type": "text", "text": "seen"}, {"type": "image_url", "image_url": {"url": "https://x.example/2"}}],
        ),
        user("plain", name="Ann"),
        user(["two", {"type": "text", "text": "texts"}]),
        said([{"type": "text", "text": "With a source.", "annotations": [{"url": "https://source.example"}]}]),
    ],
    "Anthropic": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        user([{"type": "text", "text": "Is room 5 free, and 6?"}]),
        said(
            [
                {"type": "thinking", "thinking": "I must look at both.", "signature": "c2lnbmVk"},
                {"type": "redacted_thinking", "data": "aGlkZGVu"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "t1", "name": "get_room", "input": {"number": 5}},
                {
                    "type": "tool_use",
                    "id": "t2",
                    "name": "get_room",
                    "input": {"number": 6},
                    "caller": {"type": "direct"},
                },
                {"type": "tool_use", "id": "t3", "name": "hold_room", "input": {"number": 6}},
            ],
            stop_reason="tool_use",
            usage={"input_tokens": 12},
        ),
        user(
            [
                {"type": "tool_result", "tool_use_id": "t1", "content": '{"free": true}', "cache_control": {"a": 1}},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "The room has burnt."},
                        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/fire.png"}},
                    ],
                },
                {"type": "tool_result", "tool_use_id": "t3", "is_error": False},
                {"type": "document", "source": {"type": "url", "url": "https://files.example/plan.pdf"}},
                {"type": "text", "text": "Well?"},
            ]
        ),
        said([{"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "fires"}}]),
        said([{"type": "text", "text": "Room 5 is free."}]),
    ],
    "custom tools and the old form": [
        calls({"id": "c1", "type": "custom", "custom": {"name": "run_code", "input": "print('a')\n{"}}),
        returned("c1", "a"),
        calls(
            {"id": "c2", "type": "custom", "custom": {"name": "get_code", "input": '{"not": "read"}', "format": "x"}}
        ),
        returned("c2", "b"),
        {"role": "assistant", "content": None, "function_call": {"name": "get_old", "arguments": '{"a": 1}'}},
        {"role": "function", "name": "get_old", "content": '["old"]'},
        calls({"id": "c3", "type": "computer", "computer": {"x": 5}}, {"id": "c4", "function": {"arguments": "{}"}}),
        returned("c9", "an answer to nothing", status="late"),
        returned("c1", "another name", name="renamed"),
    ],
    "thoughts": [
        said("Yes.", reasoning_content="They want a yes."),
        said("No.", reasoning="Or a no.", reasoning_details=[{"type": "reasoning.text", "text": "No is safer."}]),
        calls(tool("think", {"thought": "Is it?"}, "k1"), tool("think", {"thought": "It is.", "depth": 2}, "k2")),
        returned("k1", "", name="think"),
        calls(tool("think", "just words", "")),
        calls(tool("pay", {"sum": 5}, "k3"), content="It is due.", reasoning_content="It is really due."),
    ],
    "times": [
        user("At nine.", timestamp="2026-01-31T09:00:00Z"),
        said("In Berlin.", created_at="2026-01-31T11:00:00.5+01:00"),
        calls(tool("get_clock", {}, "w1"), created=1769853600),
        returned("w1", "10:01", created=1769853660.25),
        calls(tool("set_clock", {}, "w2"), create_time=1769853720000, content="It is slow."),
        calls(tool(HANDOFF, {"summary": "The clock. Please look."}, "w3"), sent_at="2026-01-31T10:05:00Z"),
        returned("w3", "ok", occurred_at="2026-01-31T10:06:00Z", created_at="kept as it is"),
        user("None.", timestamp=None),
    ],
    "roles, blanks and what nobody knows": [
        {"role": "developer", "content": "Speak English."},
        {"role": "critic, stern", "content": "Hm.", "score": 0.25},
        user(""),
        user("  "),
        said(None),
        said("", tool_calls="none"),
        user("Known.", metadata={"part": 1, "of": 2, "deep": [[1, {"a": None}]]}, weight=0, flag=False),
        user({"content_type": "text", "parts": ["an export of a chat"]}),
        calls(tool("pay", {}, "q1"), content="   "),
        calls(
            tool("book", {}, "q2"),
            content=[{"type": "text", "text": "Why."}, {"type": "video", "url": "https://v.example"}],
        ),
    ],
    "parts of all names": [user([WIDE, {"type": "x", "part": 1}], part=WIDE, of="y", content_of=1)],
}


# Members that a row's kind, tag or position says, or that are named otherwise there.
_KNOWN = {"role", "type", "content", "tool_calls", "function", "custom", "function_call", "id", "name", "arguments"}
_KNOWN |= {"input", "text", "tool_call_id", "tool_use_id", *TIMES}
_TAGGED = {"role", "type", *TIMES}


def rows_for(message: Json, index: int, rows: list[Row]) -> list[Row]:
    """The rows of the message at this index: those of its position, and the results of its calls."""
    ids = {part["id"] for part in _objects(message) if isinstance(part.get("id"), str)}
    mine = [row for row in rows if row.position == index or _calls_of(row) & ids]
    return mine + [row for row in rows if "function_call" in message and row.position == index + 1]  # which has no id


def lacking(messages: list[Json], rows: list[Row], *, anywhere: bool = False) -> list[tuple[int, str]]:
    """What of each message its rows do not show: the message's index, and a member's name or value.

    `anywhere`: any row of the run may show it; for runs in which calls have no id of their own.
    """
    missing = []
    for index, message in enumerate(messages):
        mine = rows if anywhere else rows_for(message, index, rows)
        shown = {leaf for row in _whole(mine) for leaf in leaves(row.content, known=())}
        shown |= {leaf for row in mine for leaf in leaves([row.text, *row.tags], known=())}
        shown |= {line for leaf in shown for line in leaf.split("\n")}
        missing += [(index, leaf) for leaf in leaves(message) if not _is_shown(leaf, shown)]
        if (when := _time_of(message)) and when not in {time for row in mine for time in row.times}:
            missing.append((index, str(when)))
    return missing


def leaves(value: Any, known: Collection[str] = _KNOWN, name: str = "") -> Iterator[str]:
    """Each value in it that says something, as text; and the names of its members, unless they are `known`."""
    if isinstance(value, dict):
        for key, one in value.items():
            if one is not None and one not in ("", [], {}):
                yield from [] if key in known else [key]
                yield from leaves(one, known, key)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, known, name)
    elif isinstance(value, str):
        yield from [] if known and name in _TAGGED else [value]
    elif value is not None and not (known and name in _TAGGED):
        yield f"number {json.dumps(value)}"


def _is_shown(leaf: str, shown: set[str]) -> bool:
    """Whether a text stands there, or, where it is JSON, everything in it."""
    if leaf in shown:
        return True
    parsed = _parsed(leaf)
    return parsed is not None and all(one in shown for one in leaves(parsed, known=()))


def _parsed(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict | list) else None


def _whole(rows: list[Row]) -> Iterator[Row]:
    """The rows, with numbered parts put together: under the name of what was split, as text and as the JSON it is."""
    joined: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        yield row
        content = row.content if isinstance(row.content, dict) else {}
        if row.text:
            joined.setdefault((re.sub(r"\.\d+$", "", row.ref), "reasoning"), [row.text])
            joined.setdefault((row.ref, "summary"), []).insert(0, row.text)
        for name, part in content.items():
            if isinstance(part, str) and {"part", "of"} <= content.keys():
                joined.setdefault((row.ref.partition("~")[0], name), []).append(part)
    for (ref, name), parts in joined.items():
        text = "".join(parts)
        yield Row(ref, {name: [text, _parsed(text)]})


def _objects(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)


def _calls_of(row: Row) -> set[str]:
    found = row.content.get("call") if isinstance(row.content, dict) else None
    return {found} if found else set()


def _time_of(message: Json) -> datetime | None:
    given = next((message[name] for name in TIMES if message.get(name) is not None), None)
    if isinstance(given, str):
        return datetime.fromisoformat(given)
    return None if given is None else datetime.fromtimestamp(given if given < 1e11 else given / 1000, UTC)


def rows_of(api: Api, key: str) -> list[Row]:
    """All rows of a run, in the order of the memory, as the API shows them to the agent that imported it."""
    found = []
    for noun in ("observations", "decisions", "escalations"):
        path = f"{noun}?task={key}&limit=100" if noun != "escalations" else "escalations?limit=100"
        while path:
            reply = api.get(path)
            assert reply.status == 200, reply
            found += [_row(one) for one in reply.data["results"] if one["task"] == key]
            path = reply.data["next"]
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _row(shown: Json) -> tuple[tuple[int, str], Row]:
    content = shown.get("content", shown.get("decision"))
    inside = content if isinstance(content, dict) else {}
    times = (shown.get("occurred_at"), inside.get("occurred_at"), inside.get("called_at"))
    moments = [datetime.fromisoformat(time) for time in times if time is not None]
    text = shown.get("reasoning") or shown.get("reason") or ""
    ref = shown["client_ref"]
    row = Row(ref, content, text, tuple(shown.get("tags", ())), tuple(moments), shown.get("private", False))
    return (shown["seq"], shown["id"]), row
