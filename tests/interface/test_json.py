"""Bodies: what gets in is one object that jsonb stores and gives back equal; everything else is 400 or 413."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memoryhub.core.errors import Code, Invalid, TooLarge
from memoryhub.interface.http.json import MAX_BYTES, dump, parse_object
from tests.support.json_values import JSON

BAD = {
    "empty": b"",
    "white space": b" \n",
    "NUL in a text": b'{"a": "x\x00y"}',
    "NUL, escaped": b'{"a": "x\\u0000y"}',
    "NUL in a key": b'{"a\\u0000": 1}',
    "NUL in a list": b'{"a": [[{"b": "\\u0000"}]]}',
    "lone high surrogate": b'{"a": "\\ud800"}',
    "lone low surrogate": b'{"a": "\\udc00"}',
    "surrogates the wrong way round": b'{"a": "\\udc00\\ud800"}',
    "surrogate in a key": b'{"\\ud800": 1}',
    "surrogate as bytes": b'{"a": "\xed\xa0\x80"}',
    "not UTF-8": b'{"a": "\xff"}',
    "overlong": b'{"a": "\xc0\xaf"}',
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "BOM": b'\xef\xbb\xbf{"a": 1}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": [-Infinity]}',
    "1e400": b'{"a": 1e400}',
    "-1e400": b'{"a": -1e400}',
    "integer beyond 2^53": b'{"a": 9007199254740993}',
    "integer below -2^53": b'{"a": {"b": [-9007199254740993]}}',
    "integer beyond 2^64": b'{"a": 18446744073709551617}',
    "integer of 5,000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "integer of a megabyte": b'{"a": ' + b"9" * (MAX_BYTES - 10) + b"}",
    "a double that comes back as 301 digits": b'{"a": 1e300}',
    "a double that comes back as 300 zeros": b'{"a": -5e-300}',
    "33 levels": b'{"a":' * 33 + b"1" + b"}" * 33,
    "33 levels of lists": b'{"a":' + b"[" * 32 + b"]" * 32 + b"}",
    "100,000 levels": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 levels, not closed": b'{"a":' * 100_000,
    "key twice": b'{"a": 1, "a": 1}',
    "key twice, far down": b'{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}',
    "key twice, once escaped": b'{"a": 1, "\\u0061": 2}',
    "key twice, with space before the colon": b'{"a" :1,"a" :":x"}',
    "key twice, hidden by an escaped colon": b'{"a": 1, "a": "\\u003a"}',
    "key twice, hidden by an escaped colon in capitals": b'{"a": 1, "a": "\\u003A"}',
    "empty key twice": b'{"": 1, "": 2}',
    "list": b"[1]",
    "text": b'"a"',
    "number": b"1",
    "null": b"null",
    "two documents": b"{} {}",
    "not closed": b'{"a": 1',
    "comma at the end": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "comment": b'{"a": 1} // x',
    "leading zero": b'{"a": 01}',
    "plus": b'{"a": +1}',
    "line feed in a text": b'{"a": "x\ny"}',
    "form": b"a=1&b=2",
}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_bad_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid) as refused:
        parse_object(raw)
    assert refused.value.code == Code.INVALID_JSON
    assert refused.value.detail
    assert len(dump(refused.value.as_dict())) < 2000


def test_the_standard_parser_lets_most_of_these_in() -> None:
    # The control: the table would be no proof if any parser refused what is in it.
    names = [
        "NUL, escaped",
        "lone high surrogate",
        "NaN",
        "1e400",
        "integer beyond 2^53",
        "33 levels",
        "key twice",
        "UTF-16",
    ]
    assert all(isinstance(json.loads(BAD[name]), dict) for name in names)


GOOD: dict[str, tuple[bytes, dict[str, Any]]] = {
    "empty object": (b"{}", {}),
    "white space around": (b' \r\n\t{"a": 1} \n', {"a": 1}),
    "2^53": (b'{"a": [9007199254740992, -9007199254740992]}', {"a": [2**53, -(2**53)]}),
    "small and large doubles": (
        b'{"a": [1e-99, 9.007199254740992e15, 0.0, -0.0, 1e-400]}',
        {"a": [1e-99, 2.0**53, 0, 0, 0]},
    ),
    "32 levels": (b'{"a":' * 32 + b"1" + b"}" * 32, json.loads('{"a":' * 32 + "1" + "}" * 32)),
    "a backslash before u0000": (b'{"a": "\\\\u0000"}', {"a": "\\u0000"}),
    "an escaped colon": (b'{"a\\u003a": "\\u003A", "b": ":"}', {"a:": ":", "b": ":"}),
    "JSON in a text": (b'{"a": "{\\"b\\": 1, \\"b\\": 2}"}', {"a": '{"b": 1, "b": 2}'}),
    "the same key in two objects": (b'{"a": {"b": 1}, "c": {"b": 1, "a": 2}}', {"a": {"b": 1}, "c": {"b": 1, "a": 2}}),
    "a pair of surrogates": (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    "bidi, kept": ('{"a": "\u202ex"}'.encode(), {"a": "\u202ex"}),
    "brackets in a text": (b'{"a": "' + b"[" * 100 + b'"}', {"a": "[" * 100}),
}


@pytest.mark.parametrize(("raw", "value"), GOOD.values(), ids=GOOD)
def test_good_json_is_read(raw: bytes, value: dict[str, Any]) -> None:
    assert parse_object(raw) == value


def test_size_is_bounded() -> None:
    body = b'{"a": "' + b"x" * 100 + b'"}'
    assert parse_object(body, max_bytes=len(body))
    with pytest.raises(TooLarge):
        parse_object(body, max_bytes=len(body) - 1)


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        (b'{"a": [{"b": 1, "b": 2}]}', "/a/0/b", Code.REPEATED),
        (b'{"a/b~c": [1, 1e300]}', "/a~1b~0c/1", Code.OUT_OF_RANGE),
        (b'{"a": {"b": "\\u0000"}}', "/a/b", Code.BAD_FORMAT),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "/a" * 32, Code.TOO_DEEP),
    ],
)
def test_the_place_is_told(raw: bytes, pointer: str, code: Code) -> None:
    with pytest.raises(Invalid) as refused:
        parse_object(raw)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [(pointer, code)]


class Refused(Exception):
    pass


def _reference(raw: bytes) -> dict[str, Any]:
    """The same rules, written slowly and plainly on the standard parser."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Refused
        return dict(pairs)

    try:
        value = json.loads(raw.decode(), object_pairs_hook=members)
        _check(value, 1)
    except (ValueError, RecursionError):
        raise Refused from None
    if not isinstance(value, dict):
        raise Refused
    return value


def _check(value: object, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth > 32:
            raise Refused
        for item in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        if "\0" in value:
            raise Refused
        value.encode()
    elif isinstance(value, int | float) and not (value == 0 or 1e-100 <= abs(value) <= 2**53):
        raise Refused


# Texts that a proof over bytes could stumble over.
PIECES = st.sampled_from(
    [
        "a",
        "b",
        ":",
        '":',
        '\\"',
        "\\\\",
        "\\\\\\\\",
        "\\u003a",
        "\\u003A",
        "\\u0000",
        "\\u00e9",
        "\\n",
        " ",
        "é",
        "{",
        "[",
        "\\ud83d",
        "\\ude00",
    ]
)
STRINGS = st.lists(PIECES, max_size=4).map(lambda pieces: f'"{"".join(pieces)}"')
NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "0.5",
        "-1.5e3",
        "1e16",
        "9007199254740992",
        "9007199254740993",
        "1e-99",
        "1e-101",
        "1E400",
        "123456789012345678901",
    ]
)
COLON = st.sampled_from([":", ": ", " :", "\t: "])


def _objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(STRINGS, COLON, values).map("".join)
    return st.lists(member, max_size=3).map(lambda members: "{" + ",".join(members) + "}")


VALUES = st.recursive(
    st.one_of(STRINGS, NUMBERS, st.sampled_from(["true", "null"])),
    lambda inner: st.one_of(_objects(inner), st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")),
    max_leaves=8,
)


@settings(max_examples=500, deadline=None)
@given(_objects(VALUES))
@example('{"a":1,"a":"\\u003a"}')
@example('{"a":1,"b":"\\\\u003a","a":"::"}')
def test_the_fast_way_decides_as_the_plain_one(text: str) -> None:
    raw = text.encode()
    try:
        expected = _reference(raw)
    except Refused:
        with pytest.raises(Invalid):
            parse_object(raw)
    else:
        assert parse_object(raw) == expected


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), _objects(VALUES).map(str.encode)), st.binary(max_size=3), st.integers(0, 200))
def test_any_bytes_are_an_object_or_a_refusal(raw: bytes, splice: bytes, at: int) -> None:
    raw = raw[:at] + splice + raw[at:]
    with suppress(Invalid, TooLarge):
        assert isinstance(parse_object(raw, max_bytes=150), dict)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), JSON))
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    assert parse_object(dump(value)) == value
    assert parse_object(json.dumps(value).encode()) == value


class Row(msgspec.Struct):
    id: UUID
    at: datetime


def test_dump_writes_times_in_utc() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    moment = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)
    row = Row(UUID(int=7), moment.astimezone(east))
    assert json.loads(dump({"at": moment, "row": row})) == {
        "at": "2026-01-02T03:04:05.000600Z",
        "row": {"id": "00000000-0000-0000-0000-000000000007", "at": "2026-01-02T03:04:05.000600Z"},
    }
    with pytest.raises(TypeError):
        dump({"at": datetime(2026, 1, 2)})
    with pytest.raises(TypeError):
        dump({"at": object()})
    assert dump({"a": math.pi}) == b'{"a":3.141592653589793}'
