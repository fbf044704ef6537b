"""Query strings: unknown, repeated, empty, undecodable and out of bounds are refused; nothing is guessed."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memoryhub.core.errors import Invalid, UriTooLong
from memoryhub.interface.http.params import NamedLabel, Params

NAMES = ("q", "n", "id", "own", "at", "mode", "tags", "label", "task", "least")
Getter = Callable[[Params], Any]
GETTERS: dict[str, Getter] = {
    "q": lambda params: params.text("q"),
    "n": lambda params: params.integer("n", low=1, high=100),
    "id": lambda params: params.uuid("id"),
    "own": lambda params: params.boolean("own"),
    "at": lambda params: params.when("at"),
    "mode": lambda params: params.choice("mode", ("all", "any")),
    "tags": lambda params: params.words("tags"),
    "label": lambda params: params.label(),
    "task": lambda params: params.key("task"),
    "least": lambda params: params.fraction("least"),
}

ID = "018f0000-0000-7000-8000-00000000000a"
GOOD: list[tuple[str, Any]] = [
    ("q=a+b%20c", "a b c"),
    ("q=100%25", "100%"),
    ("q=%", "%"),
    ("q=_", "_"),
    ("q=%27", "'"),
    ("q=a%20%26%20b%20%7C", "a & b |"),
    ("q=%D9%A3", "٣"),
    ("q=a=b", "a=b"),
    ("&q=x&", "x"),
    ("n=1", 1),
    ("n=100", 100),
    (f"id={ID}", UUID(ID)),
    (f"id={ID.upper()}", UUID(ID)),
    ("own=true", True),
    ("own=false", False),
    ("at=2026-01-31T09:30:00Z", datetime(2026, 1, 31, 9, 30, tzinfo=UTC)),
    ("at=2026-01-31T09:30:00%2B02:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ("at=2026-01-31T09:30:00+02:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
    ("mode=any", "any"),
    ("tags=a,b,%20a", ["a", "b"]),
    ("label=public", NamedLabel("public", ())),
    ("label=confidential%2Bpii%2Bfinance", NamedLabel("confidential", ("finance", "pii"))),
    ("label=confidential+finance", NamedLabel("confidential", ("finance",))),
    ("task=order:7", "order:7"),
    ("least=0.25", 0.25),
    ("least=1", 1.0),
]


def read(query: bytes | str) -> Any:
    name = (query if isinstance(query, str) else query.decode("latin-1")).strip("&").partition("=")[0]
    return GETTERS[name](Params(query, NAMES))


def test_a_list_may_be_sent_several_times() -> None:
    assert Params("tags=a,b&tags=c&tags=a", NAMES, lists={"tags"}).words("tags") == ["a", "b", "c"]
    with pytest.raises(Invalid):
        Params("tags=a&tags=b", NAMES)


def read_all(query: str) -> list[Any]:
    params = Params(query, NAMES)
    return [getter(params) for getter in GETTERS.values()]


@pytest.mark.parametrize(("query", "value"), GOOD)
def test_good_queries_are_read(query: str, value: Any) -> None:
    assert read(query) == value
    assert read(query.encode()) == value


@pytest.mark.parametrize("name", GETTERS)
def test_what_was_not_sent_is_none(name: str) -> None:
    assert GETTERS[name](Params(b"", NAMES)) is None


BAD = [
    "q=%00",
    "q=a%00b",
    "%00=a",
    "q=%ff",
    "q=%ED%A0%80",
    "q=%C0%80",
    "q=\xff",
    "q=\u0663",
    "q=",
    "q",
    "q=%20",
    "q=%E2%80%8B",
    "q=" + "x" * 1001,
    "q=a&q=b",
    "q=a&%71=b",
    "q=a&other=1",
    "Q=a",
    "q[]=a",
    *(
        f"n={value}"
        for value in ("0", "-1", "101", "1e9", "1000000000", "abc", "1.0", "+1", "%201", "01", "1_0", "true")
    ),
    *(f"n={value}" for value in ("%D9%A3", "18446744073709551616", "9" * 5000, "0x1", "%EF%BC%91")),
    *(f"id={value}" for value in ("abc", "1", "18446744073709551616", f"%7B{ID}%7D", f"urn:uuid:{ID}", f"{ID}%0A")),
    *(f"id={value}" for value in (ID.replace("-", ""), ID.replace("0", "%D9%A0"), ID[:-1])),
    *(f"own={value}" for value in ("True", "1", "yes", "t")),
    *(f"at={value}" for value in ("now", "infinity", "2026-01-31", "2026-01-31T09:30:00", "2026-02-30T00:00:00Z")),
    *(f"at={value}" for value in ("10000-01-01T00:00:00Z", "2026-01-31T09:30:60Z", "2026-01-31T09:30:00%2B25:00")),
    "at=2026-01-31T09:30:00%2B14:01",
    "mode=ALL",
    "tags=a,,b",
    "tags=,",
    "tags=" + ",".join(map(str, range(51))),
    "tags=" + ",".join(["a"] * 51),
    *(
        f"label={value}"
        for value in ("top-secret", "Confidential", "%2Bfinance", "confidential%2B", "public%2BA", "null")
    ),
    "task=a%20b",
    "task=a%0A",
    "task=" + "k" * 201,
    *(f"least={value}" for value in ("1.1", "-0.1", "nan", "inf", "1e-1", ".5", "0.5x")),
]


@pytest.mark.parametrize("query", BAD, ids=range(len(BAD)))
def test_bad_queries_are_refused(query: str) -> None:
    with pytest.raises(Invalid):
        read_all(query)


def test_a_query_too_long_is_414() -> None:
    with pytest.raises(UriTooLong):
        Params(b"q=" + b"x" * 100_000, NAMES)


def test_a_fault_names_its_parameter() -> None:
    with pytest.raises(Invalid) as refused:
        read("n=abc")
    assert [(error.pointer, error.code) for error in refused.value.errors] == [("?n", "out_of_range")]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.one_of(st.binary(max_size=40), st.text("0123456789-+.,:%eTZ{}", max_size=20).map(str.encode)),
)
def test_any_query_is_a_value_or_a_refusal(name: str, value: bytes) -> None:
    with suppress(Invalid):
        GETTERS[name](Params(name.encode() + b"=" + value, NAMES))
