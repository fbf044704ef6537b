"""An action's arguments as a form, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalations.arguments import fields, read
from memoryhub.core.errors import Invalid

SCHEMA = {
    "type": "object",
    "required": ["amount"],
    "properties": {
        "amount": {"type": "number", "minimum": 0, "description": "At most the price."},
        "currency": {"enum": ["EUR", "SEK"]},
        "coupon": {"type": "string"},
        "day": {"type": "string", "format": "date", "pattern": "^2"},
    },
}


def as_posted(found):
    return {field.name: field.value for field in found}


def kinds(arguments, schema=None):
    return {field.label: field.kind for field in fields(arguments, schema)}


def test_inputs_are_of_the_kinds_of_the_values():
    found = kinds(
        {"a": "x", "b": 1, "c": 1.5, "d": True, "e": None, "f": ["x", "y"], "g": [1], "h": {"i": "two\nlines"}}
    )
    assert found == {
        "a": "text",
        "b": "integer",
        "c": "number",
        "d": "boolean",
        "e": "json",
        "f": "lines",
        "g": "json",
        "h › i": "long",
    }


def test_the_schema_is_honoured():
    found = {field.label: field for field in fields({"amount": 5, "currency": "EUR"}, SCHEMA)}
    assert found["amount"].kind == "number"
    assert found["amount"].required
    assert found["amount"].help == "At most the price. (at least 0)"
    assert found["currency"].choices == (('"EUR"', "EUR"), ('"SEK"', "SEK"))
    assert found["coupon"].present is False
    assert found["day"].help == "(format date is not checked here, pattern ^2 is not checked here)"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc/~", min_size=1, max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcxyz", min_size=1, max_size=4), json_values, max_size=5))
def test_what_is_not_touched_comes_back_equal(arguments):
    found = fields(arguments, None)
    assert read(found, arguments, as_posted(found)) == arguments
    assert read(found, arguments, {}) == arguments


def test_typed_values_are_read_by_kind():
    arguments = {"amount": 5, "currency": "EUR", "items": ["a", "b"], "to": {"name": "M"}, "notify": True, "n": 3}
    found = fields(arguments, SCHEMA)
    typed = as_posted(found) | {
        "arguments/amount": "60.25",
        "arguments/currency": '"SEK"',
        "arguments/items": "a\r\nc\n\n",
        "arguments/to/name": "Maria",
        "arguments/notify": "false",
        "arguments/n": "7",
    }
    assert read(found, arguments, typed) == {
        "amount": 60.25,
        "currency": "SEK",
        "items": ["a", "c"],
        "to": {"name": "Maria"},
        "notify": False,
        "n": 7,
    }
    assert arguments["to"] == {"name": "M"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("amount", "x"),
        ("amount", "1e400"),
        ("amount", "٣"),
        ("amount", ""),
        ("n", "1.0"),
        ("n", "1_0"),
        ("n", "99999999999999999"),
        ("currency", "EUR"),
        ("notify", "maybe"),
        ("free", "{"),
        ("free", '1,"other":2'),
        ("free", "NaN"),
        ("free", "\ud800"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_input(name, text):
    arguments = {"amount": 5, "currency": "EUR", "notify": True, "n": 3, "free": None}
    found = fields(arguments, SCHEMA)
    with pytest.raises(Invalid) as refused:
        read(found, arguments, as_posted(found) | {f"arguments/{name}": text})
    assert [fault.pointer for fault in refused.value.errors] == [f"/arguments/{name}"]


@pytest.mark.parametrize("schema", [None, 3, "x", [], {"properties": 3}, {"properties": {"a": 3}}, {"required": 1}])
def test_an_odd_schema_breaks_nothing(schema):
    assert [field.value for field in fields({"a": "x"}, schema)] == ["x"]


def test_the_form_is_bounded():
    assert len(fields({f"a{number}": number for number in range(500)}, None)) == 60
