"""What a message holds, as contents of rows: a long one becomes numbered parts, and inline files a description."""

import hashlib
from base64 import b64decode
from typing import Any, NamedTuple

import orjson

from memoryhub.core.fields import MAX_CONTENT_BYTES

PART = 20_000  # characters, which a reason or a reasoning may have; six bytes each as JSON fit into a content
MIN_INLINE = 1024  # characters from which on data is a file


class Described(NamedTuple):
    """Inline files that a row only describes: how many, and their bytes as JSON."""

    files: int = 0
    size: int = 0


NONE = Described()


def size_of(content: Any) -> int:
    """Bytes, as JSON."""
    return len(orjson.dumps(content))


def pieces(text: str) -> list[str]:
    """The text in pieces of PART characters; of an empty text one."""
    return [text[start : start + PART] for start in range(0, len(text) or 1, PART)]


def fit(content: Any) -> tuple[list[Any], Described]:
    """The content as one or more that a row can hold, numbered `part` `of`; and the inline files that it lost.

    Inline files (data URLs, base64 `data` and `file_data`) stay where the content fits with them. The longest member is
    split, and other members stay with its first part.
    """
    if (before := size_of(content)) <= MAX_CONTENT_BYTES:
        return [content], NONE
    content, files = _without_files(content, "")
    after = size_of(content)
    lost = Described(files, before - after)
    if after <= MAX_CONTENT_BYTES:
        return [content], lost
    members = content if isinstance(content, dict) else {"content": content}
    longest = max(members, key=lambda name: size_of(members[name]))
    others = {name: value for name, value in members.items() if name != longest}
    if size_of(others) > MAX_CONTENT_BYTES // 3 or {"part", "of"} & others.keys():
        longest, others, members = "json", {}, {"json": orjson.dumps(members).decode()}
    value = members[longest]
    parts = pieces(value if isinstance(value, str) else orjson.dumps(value).decode())
    numbered = [{"part": number, "of": len(parts), longest: part} for number, part in enumerate(parts, 1)]
    return [others | numbered[0], *numbered[1:]], lost


def _without_files(value: Any, name: str) -> tuple[Any, int]:
    """The value with descriptions in place of inline files, and how many."""
    if isinstance(value, str):
        is_file = len(value) >= MIN_INLINE and (value.startswith("data:") or name in ("data", "file_data"))
        return (_described(value), 1) if is_file else (value, 0)
    if isinstance(value, dict):
        found = {key: _without_files(one, key) for key, one in value.items()}
        return {key: one for key, (one, _) in found.items()}, sum(lost for _, lost in found.values())
    if isinstance(value, list):
        listed = [_without_files(one, "") for one in value]
        return [one for one, _ in listed], sum(lost for _, lost in listed)
    return value, 0


def _described(data: str) -> str:
    """Media type (where the data names it), bytes and SHA-256 of a file in base64: those of the file itself."""
    head, _, encoded = data.partition(",") if data.startswith("data:") else ("", "", data)
    try:
        file = b64decode(encoded, validate=True)
    except ValueError:
        file = data.encode()
    kind = head.removeprefix("data:").removesuffix(";base64") or "a file"
    return f"[not stored: {kind[:200]}, {len(file)} bytes, SHA-256 {hashlib.sha256(file).hexdigest()}]"
