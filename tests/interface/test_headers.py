"""Media types, Idempotency-Key, ETags: the exact form, or a refusal."""

from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryhub.core.errors import Invalid, PreconditionRequired, UnsupportedMediaType
from memoryhub.interface.http.etags import Tag, if_match, make_tag, must_be_new
from memoryhub.interface.http.headers import check_media_type, idempotency_key

ROW = UUID("018f0000-0000-7000-8000-00000000000a")
CHANGE = UUID("018f0000-0000-7000-8000-012389abcdef")


@pytest.mark.parametrize(
    "value",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
def test_json_is_read(value: str) -> None:
    check_media_type(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/json+x",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/json; charset=utf-16",
        "application/json; charset=bogus",
        "application/json; charset=",
        "application/json; charset=utf-8; version=2",
        "application/json, text/plain",
        "application/json;",
    ],
)
def test_other_media_types_are_415(value: str | None) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_media_type(value)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", "", "utf-8"])
def test_encoded_bodies_are_415(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        check_media_type("application/json", encoding)


@pytest.mark.parametrize("key", ["a", "x" * 255, '018f-~!"quoted"'])
def test_idempotency_keys(key: str) -> None:
    assert idempotency_key(key) == key
    assert idempotency_key(None) is None


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "x" * 300, "a b", "a\n", "é", "a\x7f", "\x00"])
def test_bad_idempotency_keys(key: str) -> None:
    with pytest.raises(Invalid):
        idempotency_key(key)


def test_a_tag_is_read_as_it_was_made() -> None:
    assert if_match(make_tag(ROW, 7, CHANGE)) == Tag(ROW, 7, "89abcdef")
    assert if_match(f" {make_tag(str(ROW), 123_456_789, CHANGE)}\t") == Tag(ROW, 123_456_789, "89abcdef")


def test_a_tag_of_an_older_version_of_memoryhub_is_read_and_fits_nothing() -> None:
    assert if_match(f'"{ROW}.7"') == Tag(ROW, 7, "")


def test_a_missing_precondition_is_428() -> None:
    with pytest.raises(PreconditionRequired) as refused:
        if_match(None)
    assert refused.value.status == 428


@pytest.mark.parametrize(
    "value",
    [
        "",
        "*",
        "7",
        '"7"',
        f"{ROW}.7",
        f'"{ROW}"',
        f'"{ROW}."',
        f'"{ROW}.0"',
        f'"{ROW}.-1"',
        f'"{ROW}.07"',
        f'"{ROW}.٣"',
        f'"{ROW}.9999999999"',
        f'"{str(ROW).upper()}.7"',
        f'"{ROW.hex}.7"',
        f'W/"{ROW}.7"',
        f'"{ROW}.7", "{ROW}.8"',
        f'"{ROW}.7"x',
        f'"{ROW}.7"\n',
        f'"{ROW}.7."',
        f'"{ROW}.7.89abcde"',
        f'"{ROW}.7.89ABCDEF"',
        f'"{ROW}.7.89abcdef.1"',
        f'"{{{ROW}}}.7"',
    ],
)
def test_malformed_preconditions_are_400(value: str) -> None:
    with pytest.raises(Invalid):
        if_match(value)


def test_only_a_star_means_new() -> None:
    assert must_be_new("*") is True
    assert must_be_new(None) is False
    for value in ("", make_tag(ROW, 1, CHANGE), "**", '"*"'):
        with pytest.raises(Invalid):
            must_be_new(value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_header_is_a_value_or_a_refusal(text: str) -> None:
    for read in (if_match, must_be_new, idempotency_key, check_media_type):
        with suppress(Invalid, UnsupportedMediaType):
            read(text)
