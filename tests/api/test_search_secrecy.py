"""Search tells nothing of what one may not see: not by hits, scores, ranks, cut-offs, nor by the index itself."""

import json
from typing import Any

import pytest

from memoryhub.core.db.statements import run
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.search import fetch_plan, indexer, lookup, scoring
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.rebuild import rebuild
from tests.support.api import Api, make_api
from tests.support.factories import make_team, unique
from tests.support.hidden import plain
from tests.support.searching import ask, exact, found, hits, indexed, remember

SECRET = {"sensitivity": "confidential"}
FINANCE = {"sensitivity": "internal", "compartments": ["finance"]}
TEXTS = [f"the pump {number % 7} of line {number % 3} runs {'hot' if number % 5 else 'cold'}" for number in range(40)]
QUERIES = ["pump", "hot pump", "cold line 2", '"runs hot"', "pump -cold", "rotor", "pum", "otor", "line 2 pump 6 cold"]


def make_world(team: Team, *, hidden: bool) -> Api:
    """A low reader's rows, with others between them that it may not see: common words made rare, rare ones common."""
    low = make_api(team, name="low")
    other = make_api(team, name="other")
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="high")
    for number, text in enumerate(TEXTS):
        if hidden:
            remember(high, "pump rotor rotors hot", "cold cold cold", **SECRET)
            remember(high, "the pump of line 2 runs hot on a rotor", **FINANCE)
            remember(other, "my guess: the rotor of pump 6 runs cold", private=True)
        remember(low, text, importance=(number % 10) / 10)
        if number % 8 == 0:
            catch_up(team.id)
    rebuild(team.id)  # the session's worker may have followed meanwhile, with larger cells
    return low


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of small cells that looks at few rows, so that its cut-offs are reached."""
    monkeypatch.setattr(indexer, "CELL", 8)
    monkeypatch.setattr(lookup, "AT_ONCE", 20)  # longer ones are read in a trip of their own
    monkeypatch.setattr(fetch_plan, "BUDGET", 12)
    monkeypatch.setattr(fetch_plan, "PAIRS", 8)
    monkeypatch.setattr(scoring, "LOOKED_AT_ONE", 6)
    monkeypatch.setattr(scoring, "LOOKED_AT", 6)
    monkeypatch.setattr(scoring, "MOST_LOOKED_AT", 24)


@pytest.mark.usefixtures("small_index")
def test_results_scores_ranks_and_cut_offs_do_not_depend_on_hidden_rows() -> None:
    answers = []
    for hidden in (False, True):
        team = make_team()
        low = make_world(team, hidden=hidden)
        told = [
            plain(ask(low, q, **more), team) for q in QUERIES for more in ({}, {"limit": 3}, {"min_importance": 0.5})
        ]
        told += [plain(ask(low, q, mode=mode), team) for q in QUERIES for mode in ("text", "substring")]
        answers.append(told)
    without, with_hidden = answers
    for one, other in zip(without, with_hidden, strict=True):
        assert one == other
    assert sum('"score"' in text for text in without) > 20


def test_the_comparison_sees_a_difference() -> None:
    """The control: one visible row more changes the scores of the others."""
    texts = []
    for extra in (False, True):
        team = make_team()
        low = make_world(team, hidden=False)
        if extra:
            remember(low, "rotor")
        texts.append(plain(ask(low, "pump hot", limit=3), team))
    assert texts[0] != texts[1]


def test_confidential_rows_are_found_by_whole_words_and_only_by_who_may_see_them(team: Team) -> None:
    low, high = make_api(team), make_api(team, Sensitivity.CONFIDENTIAL)
    text = "Merger talks with Contoso begin on Monday, file HAT-1234."
    remember(high, text, **SECRET)
    for query in ("merger", "contoso", "HAT-1234", "Contoso merger", '"talks with Contoso"', "when do the talks begin"):
        assert found(high, query) == [text], query
        assert found(low, query) == [], query
    assert found(high, "merg") == []  # half a word has another hash
    assert exact(high, '"Contoso talks"') == []  # the words, but not so
    assert found(high, "merger -contoso") == []
    (hit,) = hits(high, "contoso")
    assert [hit["snippet"][start:end] for start, end in hit["highlights"]] == ["Contoso"]


def test_a_confidential_words_text_is_nowhere_in_the_index(team: Team, owner_sql: Any) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    word, shown = unique("canary").replace("-", ""), unique("linnet").replace("-", "")
    remember(high, {"said": f"the word is {word}", "n": 1}, **SECRET)
    remember(high, f"the word is {shown}")
    assert len(hits(high, word)) == 1
    assert indexed(owner_sql, team) == 2
    kept = {"search_doc": "words::text", "search_posting": "term", "search_form": "form || term"}
    text = "".join(
        json.dumps(owner_sql.execute(f"select {what} from {table}").fetchall()) for table, what in kept.items()
    )
    assert word not in text
    assert shown in text  # the control


def test_a_private_row_is_found_by_its_author_alone(team: Team) -> None:
    author, other = make_api(team), make_api(team)
    remember(author, "I suspect the gasket", private=True)
    assert found(author, "gasket") == ["I suspect the gasket"]
    assert found(author, "gask") == ["I suspect the gasket"]
    assert found(other, "gasket") == found(other, "gask") == []


def test_the_index_of_another_team_is_not_searched() -> None:
    here, there = make_api(make_team()), make_api(make_team())
    remember(there, "an unusual sprocket")
    assert len(hits(there, "sprocket")) == 1
    assert found(here, "sprocket") == []


def test_without_a_viewer_the_index_shows_nothing(team: Team, api: Api, app_sql: Any) -> None:
    remember(api, "gasket")
    assert len(hits(api, "gasket")) == 1
    for table in ("search_shelf", "search_cell", "search_doc", "search_posting", "search_form", "search_state"):
        assert app_sql.execute(f"select count(*) from {table}").fetchone() == (0,), table
    assert app_sql.execute("select * from search_parts('gask', false, 10)").fetchall() == []


def test_the_index_itself_shows_a_low_reader_nothing_more(team: Team, api: Api) -> None:
    """Both locks below the product's own choice of cells: the tables' policies, and the function's condition."""
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"])
    remember(high, "a hidden gasket", **FINANCE)
    remember(api, "a visible gasket")
    catch_up(team.id)
    for reader, seen in ((api, 1), (high, 2)):
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True):
            assert run("select count(*) from search_doc") == [(seen,)]
            assert run("select count(*) from search_posting where term = 'gasket'") == [(seen,)]
            assert run("select docs from search_parts('gask', true, 10)") == [(seen,)]


def test_rows_that_are_hidden_later_leave_no_trace(team: Team, api: Api, owner_sql: Any) -> None:
    """What relabelling, erasure and expiry come down to: the row is taken out, and out of the statistics."""
    remember(api, "a common pump", "another common pump")
    before = plain(ask(api, "common pump"), team)
    (gone,) = remember(api, "a rare common gasket with forms", importance=0.3)
    assert len(hits(api, "gasket")) == 1
    with viewer_transaction(system_viewer(team.id)) as transaction:
        indexer.remove(transaction.viewer, [gone])
    owner_sql.execute("delete from observation where id = %s", [gone])
    assert found(api, "gasket") == []
    assert plain(ask(api, "common pump"), team) == before
    shelves = "select id from search_shelf where team_id = %s"
    left = f"select count(*) from search_posting where term = 'gasket' and shelf_id in ({shelves})"
    assert owner_sql.execute(left, [team.id]).fetchone() == (0,)
