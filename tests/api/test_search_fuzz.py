"""Whatever text is logged can be indexed, and whatever is typed can be asked: else one row would stop an index."""

from datetime import UTC, datetime
from urllib.parse import quote
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memoryhub.core.db.statements import run
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import terms
from memoryhub.memory.search.snippets import Sought, snippets
from memoryhub.memory.search.tokenizer import tokens
from tests.support.api import Api

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
WIDE = "\ufdfa" * 60  # one sign that is eighteen in its compatibility form
LONG = " ".join(f"word{number}x" for number in range(30_000))


@MANY
@given(text=TEXT, tags=st.lists(TEXT.map(lambda tag: tag[:100]), max_size=3))
@example(text="'\\ 'a':1 \x01 it's", tags=["'", "\\", "\x01", "'\\''"])
@example(text=WIDE + "-" + WIDE, tags=[])
@example(text="\u0301 \u0301-\u0301 ½ ŉ ﬁ", tags=[])
@example(text=LONG, tags=[])
@example(text="x " * 100_000, tags=[])
def test_any_text_can_be_indexed(team: Team, text: str, tags: list[str]) -> None:
    nobody = UUID(int=0)
    source = terms.Source(nobody, "observation", 0, False, None, None, nobody, tags, 0.5, datetime.now(UTC), None, text)
    with viewer_transaction(system_viewer(team.id), read_only=True):
        for doc in terms.read(team.id, [source]):
            ((size,),) = run("select length(%(words)s::tsvector)", {"words": doc.vector()})
            assert size == len({*doc.terms})


@MANY
@given(text=TEXT)
def test_a_terms_place_is_in_the_text(text: str) -> None:
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)


@MANY
@given(text=TEXT, words=st.lists(TEXT.map(lambda word: word[:10]), max_size=3))
def test_marks_are_within_the_snippet(team: Team, text: str, words: list[str]) -> None:
    with viewer_transaction(system_viewer(team.id), read_only=True):
        (snippet,) = snippets([text], Sought(frozenset(words), frozenset(word for word in words if word)))
    for start, end in snippet.highlights:
        assert 0 <= start < end <= len(snippet.text)


@MANY
@given(text=TEXT, mode=st.sampled_from(["hybrid", "text", "substring"]))
@example(text='-"', mode="hybrid")
@example(text='"a', mode="hybrid")
@example(text='-"" -- ""-a "-a"', mode="hybrid")
def test_anything_can_be_asked(api: Api, text: str, mode: str) -> None:
    reply = api.get(f"search?mode={mode}&q={quote(text)}")
    assert reply.status in (200, 400, 414), (text, reply)


def test_the_control_of_these_tests_fails(team: Team) -> None:
    with pytest.raises(Exception, match="tsvector"), viewer_transaction(system_viewer(team.id), read_only=True):
        run("select length(%(words)s::tsvector)", {"words": "'open"})
