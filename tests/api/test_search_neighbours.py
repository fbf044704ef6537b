"""A row's neighbours in its task lend it their words, as far as the reader sees: hidden rows do not take part."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.search import fetch_plan, indexer, scoring
from memoryhub.memory.search.rebuild import rebuild
from memoryhub.memory.search.terms import Doc, Source, read
from tests.support import facts
from tests.support.api import Api, make_api
from tests.support.factories import make_team
from tests.support.hidden import plain
from tests.support.searching import ask, found, hits, remember

SECRET = {"sensitivity": "confidential"}
FINANCE = {"sensitivity": "internal", "compartments": ["finance"]}
K1, B, BEFORE, AFTER = 0.9, 0.4, 0.5, 0.3
QUERIES = [
    "pump hot",
    "hot pump rotor",
    "cold line 2",
    '"runs hot"',
    "pump -cold",
    "pum ho",
    "rotor cold",
    "line 2 hot",
]


def scores(api: Api, q: str, **more: Any) -> dict[str, float]:
    """The score of each content that is found."""
    told = hits(api, q, **more)
    return {hit["row"].get("content", hit["row"].get("decision")): hit["score"] for hit in told}


def own_parts(texts: Sequence[str], query: Sequence[str]) -> list[list[float]]:
    """Each word's BM25 in each of all texts that the reader may see."""
    lengths = [len(text.split()) for text in texts]
    average = sum(lengths) / len(texts)
    made = []
    for text, length in zip(texts, lengths, strict=True):
        parts = []
        for word in query:
            having = sum(word in other.split() for other in texts)
            idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            count = text.split().count(word)
            parts.append(idf * (K1 + 1) * count / (count + K1 * (1 - B + B * length / average)))
        made.append(parts)
    return made


def due(tasks: Sequence[Sequence[str]], query: Sequence[str]) -> dict[str, float]:
    """The score of each text that has a word itself; `tasks`: their texts, one after the other."""
    own = iter(own_parts([text for texts in tasks for text in texts], query))
    made = {}
    for texts in tasks:
        nothing = [0.0] * len(query)
        lines = [nothing, *(next(own) for _ in texts), nothing]
        for at, text in enumerate(texts, start=1):
            around = zip(lines[at], lines[at - 1], lines[at + 1], strict=True)
            if any(lines[at]):
                made[text] = sum(max(mine, BEFORE * before, AFTER * after) for mine, before, after in around)
    return made


def test_the_scores_of_a_small_memory_are_exactly_those(api: Api) -> None:
    """Fails when a constant, a length, a neighbour's share or which row is a neighbour is another one."""
    tasks = [
        ["pump alone", "filler words stand", "hot alone", "pump hot tower", "valve stands"],
        ["hot steam rises", "pump pump pump", "hot water flows north"],
        ["pump nobody", "quiet evening"],
    ]
    for number, texts in enumerate(tasks):
        api.make("tasks", {"key": f"t{number}", "title": "T"})
        remember(api, *texts, task=f"t{number}")
    for query in ("pump hot", "hot pump steam", "water tower pump", "valve tower"):
        assert scores(api, query) == pytest.approx(due(tasks, query.split()), abs=2e-6), query


def test_a_row_scores_higher_when_the_row_before_or_after_has_the_rest(api: Api) -> None:
    """Fails when an answer does not profit from the question before it, or a question from the answer after it."""
    for key, texts in {
        "after": ["red pump", "blue hose"],  # the hose's row gets half of the pump
        "before": ["blue pump", "red hose"],  # and the pump's three tenths of the hose
        "apart": ["grey pump", "silent room", "grey hose"],
    }.items():
        api.make("tasks", {"key": key, "title": "T"})
        for text in texts:
            remember(api, text, task=key)
    got = scores(api, "pump hose")
    assert got["blue hose"] == got["red hose"] > got["red pump"] == got["blue pump"] > got["grey pump"]
    assert got["grey pump"] == got["grey hose"]
    assert got["blue hose"] == pytest.approx(got["grey hose"] * 1.5, abs=2e-6)
    assert got["red pump"] == pytest.approx(got["grey pump"] * 1.3, abs=2e-6)


def test_a_row_without_any_word_is_not_found_through_its_neighbours(api: Api, task: str) -> None:
    """Fails when the row between two hits is a hit itself, with nothing to mark in it."""
    remember(api, "pump", "nothing of the kind", "pump again", task=task)
    assert set(found(api, "pump")) == {"pump", "pump again"}


def test_rows_of_other_tasks_and_of_none_do_not_lend(api: Api, task: str) -> None:
    """Fails when rows are neighbours merely because they were written one after the other."""
    api.make("tasks", {"key": "u", "title": "U"})
    remember(api, "red hose", task=task)
    remember(api, "red pump", task="u")
    remember(api, "lone hose")
    remember(api, "lone pump")
    got = scores(api, "pump hose")
    assert len(set(got.values())) == 1
    remember(api, "blue pump", task=task)  # the control
    got = scores(api, "pump hose")
    assert got["blue pump"] > got["red pump"]


def test_facts_and_learnings_neither_lend_nor_separate(api: Api, task: str) -> None:
    """Fails when what the team knows counts as a step of a task."""
    remember(api, "red pump", task=task)
    learned = {"signal_type": "pattern", "details": "hose", "context": {}, "task": task}
    api.make("learnings", learned)
    facts.make(api, "hose", "hose")
    alone = scores(api, "pump hose", types="observation")["red pump"]
    assert alone == scores(api, "pump hose")["red pump"] == scores(api, "pump")["red pump"]
    remember(api, "blue hose", task=task)
    api.make("tasks", {"key": "apart", "title": "T"})
    remember(api, "grey hose", task="apart")
    got = scores(api, "pump hose", types="observation")
    assert got["blue hose"] > got["grey hose"]  # over the learning between them


def test_decisions_lend_and_separate_as_observations_do(api: Api, task: str) -> None:
    """Fails when a decision does not count as a step of its task."""
    remember(api, "red pump", task=task)
    api.make("decisions", {"task": task, "decision": "hose", "reasoning": "because"})
    remember(api, "blue hose", task=task)
    api.make("decisions", {"task": task, "decision": "nothing", "reasoning": "because"})
    remember(api, "grey hose", task=task)
    got = scores(api, "pump hose")
    assert got["hose"] > got["blue hose"] == got["grey hose"]


def test_an_expired_row_does_not_separate(team: Team, api: Api, task: str, owner_sql: Any) -> None:
    """Fails when a row that nobody sees any more stands between its neighbours until the index has dropped it."""
    remember(api, "red pump", task=task)
    (between,) = remember(api, "silent room", task=task, expires_at="2999-01-01T00:00:00Z")
    remember(api, "blue hose", task=task)
    before = scores(api, "pump hose")
    for table, key in (("observation", "id"), ("search_doc", "row_id")):
        owner_sql.execute(f"update {table} set expires_at = now() - interval '1 s' where {key} = %s", [between])
    after = scores(api, "pump hose")
    assert before["blue hose"] == before["red pump"]
    assert after["blue hose"] > after["red pump"] > before["red pump"]


def test_a_private_row_lends_to_its_own_author_only(team: Team, api: Api, task: str) -> None:
    """Fails when another agent's private note shows in the scores of the row after it."""
    other = make_api(team)
    remember(api, "red pump", task=task)
    before = scores(other, "pump hose rotor")
    remember(api, "my guess is the rotor", private=True, task=task)
    remember(api, "blue hose", task=task)
    api.make("tasks", {"key": "apart", "title": "T"})
    remember(api, "grey hose", task="apart")
    mine, others = scores(api, "hose rotor"), scores(other, "hose rotor")
    assert mine["blue hose"] > mine["grey hose"]
    assert others["blue hose"] == others["grey hose"]
    assert before.keys() == {"red pump"}
    others = scores(other, "pump hose")
    assert others["blue hose"] > others["grey hose"], "nor does it separate"
    mine = scores(api, "pump hose")
    assert mine["blue hose"] == mine["grey hose"], "but for its author"


@pytest.fixture
def small_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of small cells that looks at few rows, so that its cut-offs are reached."""
    monkeypatch.setattr(indexer, "CELL", 8)
    monkeypatch.setattr(fetch_plan, "BUDGET", 16)
    monkeypatch.setattr(fetch_plan, "PAIRS", 12)
    monkeypatch.setattr(scoring, "LOOKED_AT", 8)
    monkeypatch.setattr(scoring, "MOST_LOOKED_AT", 32)


def make_world(team: Team, *, hidden: bool) -> Api:
    """Tasks of a low reader's rows; between any two of them, in the same task, rows that are hidden from it."""
    low, other = make_api(team, name="low"), make_api(team, name="other")
    high = make_api(team, Sensitivity.CONFIDENTIAL, ["finance"], name="high")
    for key in "abc":
        low.make("tasks", {"key": key, "title": "T"})
    for number in range(30):
        here = "abc"[number % 3]
        if hidden:
            remember(high, "pump rotor rotors hot", task=here, **SECRET)
            remember(high, "the pump of line 2 runs hot on a rotor", task=here, **FINANCE)
            high.make("decisions", {"task": here, "decision": "cold rotor", "reasoning": "r", **FINANCE})
            remember(other, "my guess: the rotor of pump 6 runs cold", task=here, private=True)
        words = ["pump", "line 2", "runs hot", "", "cold", "pump hot", "idle"][number % 7]
        if number % 5:
            remember(low, f"the {words} of step {number}", task=here, importance=(number % 10) / 10)
        else:
            low.make("decisions", {"task": here, "decision": f"the {words} number {number}", "reasoning": "cold"})
    rebuild(team.id)  # the session's worker may have followed meanwhile, with larger cells
    return low


def told(low: Api, team: Team) -> list[str]:
    """What the low reader is answered to many queries."""
    options: list[dict[str, Any]] = [{}, {"limit": 3}, {"min_importance": 0.5}, {"task": "b"}, {"types": "decision"}]
    options += [{"mode": "text"}, {"mode": "substring"}]
    return [plain(ask(low, q, **more), team) for q in QUERIES for more in options]


@pytest.mark.usefixtures("small_index")
def test_hidden_neighbours_neither_lend_nor_separate() -> None:
    """Fails when a low reader can see in scores, order or cut-offs that a hidden row stands in a task."""
    answers = []
    for hidden in (False, True):
        team = make_team()
        answers.append(told(make_world(team, hidden=hidden), team))
    for one, other in zip(*answers, strict=True):
        assert one == other
    assert sum('"score"' in text for text in answers[0]) > 20


def lending(low: Api) -> bool:
    """The control of the comparison: whether visible neighbours change any score at all."""
    kept = scoring.BEFORE, scoring.AFTER
    before = [scores(low, q) for q in QUERIES]
    try:
        scoring.BEFORE = scoring.AFTER = 0.0
        return before != [scores(low, q) for q in QUERIES]
    finally:
        scoring.BEFORE, scoring.AFTER = kept


@pytest.mark.usefixtures("small_index")
def test_the_comparison_sees_a_hidden_row_that_separates(owner_sql: Any) -> None:
    """The control: hidden rows stand on a shelf of the reader's, where the index looks for rows between neighbours."""
    team = make_team()
    low = make_world(team, hidden=True)
    assert lending(low)
    before = told(low, team)
    assert low.agent is not None
    author = low.agent.membership.id
    visible = "select id from search_shelf where team_id = %(team)s and id in (select shelf_id from search_doc d"
    visible += " join observation o on o.id = d.row_id where o.author_id = %(author)s)"
    moved = owner_sql.execute(
        f"update search_doc set shelf_id = ({visible}) where task_id is not null and shelf_id not in ({visible})"
        " and shelf_id in (select id from search_shelf where team_id = %(team)s)",
        {"team": team.id, "author": author},
    )
    assert moved.rowcount == 4 * 30
    after = told(low, team)
    assert sum(one != other for one, other in zip(before, after, strict=True)) > 5


def test_the_comparison_sees_a_hidden_row_that_lends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the index takes hidden rows for visible ones. They are not shown, but lend."""
    answers = []
    for wrong in (False, True):
        team = make_team()
        low = make_world(team, hidden=True)
        assert low.agent is not None
        author = low.agent.membership.id

        def shelved(of_team: int, sources: Sequence[Source], author: Any = author) -> list[Doc]:
            label = next((source.label_id for source in sources if source.author_id == author), None)
            for source in sources:
                source.label_id, source.audience, source.is_sealed = label or source.label_id, None, False
            return read(of_team, sources)

        if wrong:
            monkeypatch.setattr(indexer, "read", shelved)
            rebuild(team.id)
        assert lending(low)
        answers.append((scores(low, "rotor pump", limit=100), told(low, team)))
    (right, one), (lent, other) = answers
    assert right.keys() == lent.keys()  # hidden rows are not shown in any case
    assert one != other
