"""Agents' words are shown as text, with nothing in them that acts, hides or misleads."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalations.templatetags.desk import ago, one_line, outcome, plain, tree, whole_tree

ODD = ["\u202e", "\u2066", "\u200b", "\x00", "\x1b", "\u061c", "\ufeff", "\U000e0041", "\x85"]


@pytest.mark.parametrize("character", ODD)
def test_what_cannot_be_seen_is_shown_as_its_number(character):
    shown = plain(f"a{character}b")
    assert character not in shown
    assert f"U+{ord(character):04X}" in shown


def test_many_of_one_kind_in_a_row_are_counted():
    assert re.findall(r"[^<>]+(?=</span>)", plain("\u200b\u200ba\u200b\u200e" + "\x7f" * 1200)) == [
        "U+200B ×2",
        "U+200B",
        "U+200E",
        "U+007F ×1,200",
    ]


@pytest.mark.parametrize("text", ["a\tb\nc", "naïve 日本語 עברית", "👩‍👩‍👧"])
def test_ordinary_text_stays_as_it_is(text):
    assert plain(text) == text


# All the markup that is ours.
OURS = re.compile(
    r'</?d[ltd]>|</?div>|</span>|<dl class="tree">|<(span|div) class="(cut|text-secondary)">'
    r'|<span class="odd" title="an invisible or control character">'
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_any_json_is_shown_without_markup_of_its_own(value):
    for shown in (tree(value), whole_tree(value), plain(one_line(value))):
        assert "<" not in OURS.sub("", shown)


def test_markup_is_text():
    assert plain("<img src=x onerror=alert(1)>") == "&lt;img src=x onerror=alert(1)&gt;"
    assert "<script" not in tree({"<script>": ["<script>", {"a": "<script>"}]})


def test_long_values_are_cut_in_lists_and_whole_alone():
    value = {"text": "x" * 10_000, "many": {f"k{number}": number for number in range(200)}}
    assert "6000 more characters" in tree(value)
    assert "140 more" in tree(value)
    assert "more" not in whole_tree(value)


def test_a_tool_call_is_one_line():
    assert one_line({"tool": "refund", "arguments": {"order": "1", "amount": 5}}) == "refund(order: 1, amount: 5)"
    assert len(one_line("word " * 200)) <= 160


def test_what_a_tool_gave_is_told():
    call = {"tool": "refund", "arguments": {"order": "1"}}
    assert one_line({**call, "result": {"paid": 80}}) == "refund(order: 1) → paid: 80"
    assert one_line({"tool": "track", "result": "lost", "at": "noon"}) == "track → lost, at: noon"
    assert one_line({"tool": "track", "arguments": "by hand"}) == "tool: track, arguments: by hand"
    assert outcome({**call, "result": "done"}, call) == "done"
    told = re.findall(r"<dt>(\w+)", str(tree({"at": 1, "result": "done", **call})))
    assert told == ["tool", "arguments", "order", "result", "at"]
    for other in ({"tool": "track", "result": "lost"}, {"result": "lost", "by": "hand"}, "lost"):
        assert outcome(other, call) == other
        assert outcome(other, "refund in full") == other


def test_times_are_told_in_the_largest_fitting_unit():
    for length, told in ((5, "5 s"), (90, "1 min"), (3600, "60 min"), (3 * 3600, "3 h"), (50 * 3600, "2 d")):
        assert ago(datetime.now(UTC) - timedelta(seconds=length)) == told
