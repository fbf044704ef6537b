"""Learnings: logged, listed, and found again by the context that they arose in."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from memoryhub.core.models import Event, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.selectors.learnings import relevant as relevant_to
from memoryhub.memory.similarity import features
from tests.support.api import Api, Reply, at_once, make_api
from tests.support.factories import make_team

CONFIDENTIAL = Sensitivity.CONFIDENTIAL


def learn(api: Api, context: Any = None, details: Any = "It helped.", signal: str = "success", **more: Any) -> str:
    body = {"signal_type": signal, "details": details, "context": context or {}, **more}
    row: str = api.make("learnings", body)["id"]
    return row


def ask(api: Api, context: Any, **more: Any) -> list[Any]:
    reply = api.post("learnings/relevant", {"context": context, **more})
    assert reply.status == 200, reply
    results: list[Any] = reply.data["results"]
    return results


def found(api: Api, context: Any, **more: Any) -> list[str]:
    return [row["id"] for row in ask(api, context, **more)]


def matched(row: Any) -> list[tuple[str, str]]:
    return [(one["match"], one.get("key") or one["word"]) for one in row["matched"]]


def test_log_answers_the_row(team: Team, api: Api) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    body = {"signal_type": "pattern", "details": {"a": [1]}, "context": {"industry": "retail"}, "task": "t"}
    reply = api.post("learnings", {**body, "client_ref": "r"})
    assert reply.status == 201
    assert reply.data.items() >= {**body, "client_ref": "r", "source": None, "duplicate": False}.items()
    assert reply.data.items() >= {"author": api.name, "sensitivity": "internal", "compartments": []}.items()
    again = api.post("learnings", {**body, "client_ref": "r", "details": "other"})
    assert (again.status, again.data) == (200, {**reply.data, "duplicate": True})
    with viewer_transaction(system_viewer(team.id), read_only=True):
        (event,) = Event.objects.filter(team=team, row_type="learning")
    assert (event.type, str(event.row_id), event.data) == ("learning.log", reply.data["id"], {"signal_type": "pattern"})


def test_of_several_at_once_with_one_client_ref_one_is_logged(api: Api) -> None:
    got = at_once(*(partial(learn, api, {"a": 1}, client_ref="r") for _ in range(4)))
    assert len(set(got)) == 1
    assert len(api.results("learnings")) == 1


def test_list_filters_and_pages(team: Team, api: Api) -> None:
    other = make_api(team)
    api.make("tasks", {"key": "t", "title": "T"})
    rows = [learn(api, signal=signal) for signal in ("success", "failure", "pattern", "recommendation")]
    theirs = learn(other, task="t")

    def listed(query: str) -> list[str]:
        return [row["id"] for row in api.results(f"learnings?{query}")]

    assert listed("") == [theirs, *rows[::-1]]
    assert listed("signal_type=failure") == [rows[1]]
    assert listed("exclude_own=true") == listed(f"agent={other.name}") == listed("task=t") == [theirs]
    assert listed(f"exclude_agent={other.name}") == rows[::-1]
    created = {row["id"]: row["created_at"] for row in api.results("learnings")}
    assert listed(f"since={created[rows[3]]}") == [theirs, rows[3]]
    first = api.get("learnings?limit=3").data
    second = api.get(first["next"]).data
    assert [row["id"] for row in second["results"]] == rows[1::-1]
    assert api.get(second["previous"]).data["results"] == first["results"]
    for bad in ("signal_type=luck", "tags=x", "q=x"):
        assert api.get(f"learnings?{bad}").status == 400


def test_no_write_up_and_no_hidden_task(team: Team, api: Api) -> None:
    make_api(team, CONFIDENTIAL).make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    body = {"signal_type": "success", "details": "x"}
    assert api.post("learnings", {**body, "sensitivity": "confidential"}).refusal == (403, "forbidden")
    refused = [api.post("learnings", {**body, "task": key}) for key in ("s", "none")]
    assert [reply.refusal for reply in refused] == [(404, "not_found")] * 2
    assert refused[0].data["errors"] == refused[1].data["errors"]


# Relevance


def test_similar_pitches_are_found(team: Team, api: Api) -> None:
    """The seed's own example."""
    other = make_api(team)
    same = learn(other, {"industry": "retail", "company_size": 50}, "Lead with the saved hours.")
    near = learn(other, {"industry": "Retail", "company_size": 60}, "They ask for references.", "failure")
    learn(other, {"industry": "banking", "company_size": 9000}, "Legal takes six weeks.")
    first, second = ask(api, {"industry": "retail", "company_size": 50}, exclude_own=True)
    assert (first["id"], matched(first)) == (same, [("exact", "company_size"), ("exact", "industry")])
    assert (second["id"], matched(second)) == (near, [("exact", "industry"), ("partial", "company_size")])
    assert 1 >= first["relevance"] > second["relevance"] > 0


def test_exact_members_come_before_similar_ones_and_those_before_words(api: Api) -> None:
    text = learn(api, {}, "Retail chains in France ask for a pilot.")
    partial_ = learn(api, {"sector": "retail banking", "land": "southern france"})
    one = learn(api, {"sector": "retail", "land": "spain"})
    both = learn(api, {"sector": "retail", "land": "france"})
    learn(api, {"sector": "mining"}, "Nothing of it.")
    asked = {"sector": "Retail", "land": "France"}
    rows = ask(api, asked)
    assert [row["id"] for row in rows] == [both, one, partial_, text]
    assert matched(rows[2]) == [("partial", "land"), ("partial", "sector")]
    assert matched(rows[3]) == [("text", "france"), ("text", "retail")]
    assert found(api, asked, limit=2) == [both, one]


def test_what_was_tried_comes_before_advice_and_the_newer_before_the_older(api: Api, owner_sql: Any) -> None:
    success = learn(api, {"a": "b"})
    old = learn(api, {"a": "b"})
    owner_sql.execute("update learning set created_at = created_at - %s where id = %s", [timedelta(days=90), old])
    advice = learn(api, {"a": "b"}, signal="recommendation")
    failure = learn(api, {"a": "b"}, signal="failure")
    assert found(api, {"a": "b"}) == [failure, success, old, advice]
    assert found(api, {"a": "b"}, signal_types=["recommendation", "failure"]) == [failure, advice]


@pytest.mark.parametrize(
    ("stored", "asked", "how"),
    [
        ("Retail  Chain", "retail chain", "exact"),
        (50, "50", "exact"),
        (50, 50.0, "exact"),
        ("02134", "02134", "exact"),
        ("02134", 2134, None),  # a postcode
        ("02134", "2134", None),
        ("0.5", 0.5, "exact"),
        (True, True, "exact"),
        (True, False, None),
        (None, None, "exact"),
        (["b", "a"], ["a", "b"], "exact"),
        (["red", "green"], ["green", "blue"], "partial"),
        (["red", "green"], "red", "partial"),
        ("retail banking", "banking", "partial"),
        ("manufacturing", "manufacturer", "partial"),
        (1000, 1100, "partial"),
        (1000, 5000, None),
        (-5, 5, None),
        (0, 0.001, None),
        ("", "x", None),
        ("red", "blue", None),
    ],
)
def test_when_two_values_are_alike(api: Api, stored: Any, asked: Any, how: str | None) -> None:
    learn(api, {"key": stored})
    assert [matched(row) for row in ask(api, {"key": asked})] == ([[(how, "key")]] if how else [])


def test_levels_of_a_context_are_compared_by_their_path(api: Api) -> None:
    row = learn(api, {"company": {"size": 50, "place": {"land": "france"}}})
    (first,) = ask(api, {"company": {"place": {"land": "france"}}})
    assert (first["id"], matched(first)) == (row, [("exact", "company.place.land")])
    assert matched(ask(api, {"Company.Size": 50})[0]) == [("exact", "company.size")]
    assert ask(api, {"size": {"company": 500}}) == []


def test_words_alone_find_details(api: Api) -> None:
    row = learn(api, {"order": 7}, {"what": "The courier lost parcel ZX-81 twice."})
    (first,) = ask(api, {}, q="lost parcel?")
    assert (first["id"], matched(first)) == (row, [("text", "lost"), ("text", "parcel")])
    assert ask(api, {}, q="refund") == ask(api, {}) == []


def test_ones_own_are_left_out_when_asked(team: Team, api: Api) -> None:
    mine = learn(api, {"a": "b"})
    theirs = learn(make_api(team), {"a": "b"})
    assert found(api, {"a": "b"}) == [theirs, mine]
    assert found(api, {"a": "b"}, exclude_own=True) == [theirs]


def test_the_match_of_two_members_is_found_among_many_of_each(team: Team, api: Api) -> None:
    """Each member alone is so common that its newest two hundred have not the one that has both."""
    both = learn(api, {"industry": "retail", "land": "france"})
    for context in ({"industry": "retail", "land": "x"}, {"industry": "y", "land": "france"}):
        for _ in range(210):
            learn(api, context)
    assert found(api, {"industry": "retail", "land": "france"}, limit=1) == [both]


def fetched() -> tuple[int, int]:
    """Rows of learning_key that this connection has read, in sequence and by its index."""
    with connection.cursor() as cursor:
        cursor.execute(
            "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables where relname = 'learning_key'"
        )
        found: tuple[int, int] = cursor.fetchone()
    return found


def test_a_feature_that_all_have_costs_no_more_than_two_hundred_rows(team: Team, api: Api, owner_sql: Any) -> None:
    """Under row-level security, as the app's own login; the control reads them all."""
    row = learn(api, {"industry": "retail"})
    (label,) = owner_sql.execute("select label_id from learning where id = %s", [row]).fetchone()
    owner_sql.execute(
        "insert into learning_key select label_id, token, uuidv7() from learning_key, generate_series(1, 20000)"
        " where learning_id = %s",
        [row],
    )
    assert api.agent is not None
    viewer = api.agent.viewer
    with viewer_transaction(viewer, read_only=True), connection.cursor() as cursor:
        cursor.execute("set local enable_indexonlyscan = off")  # so that each row that is looked at is counted
        before = fetched()
        relevant_to(viewer, {"industry": "retail"}, limit=10, most_bytes=2**20)
        after = fetched()
        assert after[0] == before[0]
        # One row more tells that the label has learnings at all.
        assert 200 <= after[1] - before[1] <= 1 + 200 * len(features({"industry": "retail"}, ""))
        cursor.execute("select count(*) from learning_key where label_id = %s", [label])
        assert sum(fetched()) - sum(after) > 20_000
    owner_sql.execute("delete from learning_key where label_id = %s and learning_id <> %s", [label, row])


def test_hidden_is_absent_and_changes_nothing(team: Team, api: Api) -> None:
    """With more hidden ones than are looked at for a feature, a low reader's answer is the same, figures and all."""
    answers = []
    for hidden in (0, 230):
        team = make_team()
        low, high = make_api(team), make_api(team, CONFIDENTIAL, ["finance"])
        learn(low, {"industry": "retail", "size": 50}, "Call them on Mondays.")
        for number in range(hidden):
            label = {"sensitivity": "confidential"} if number % 2 else {"compartments": ["finance"]}
            learn(high, {"industry": "retail", "size": 50, "n": number}, "Call them on Mondays.", **label)
        learn(low, {"industry": "retail"}, "Bring samples.", "failure")
        rows = ask(low, {"industry": "retail", "size": 50}, q="samples", limit=100)
        answers.append([(row["details"], row["relevance"], row["matched"]) for row in rows])
        assert len(ask(high, {"industry": "retail"}, limit=100)) == min(100, hidden + 2)
    assert answers[0] == answers[1]
    assert len(answers[0]) == 2
    assert ask(make_api(make_team(), CONFIDENTIAL), {"industry": "retail"}) == []  # another team's


def test_what_is_confidential_is_found_sealed(team: Team, owner_sql: Any) -> None:
    high = make_api(team, CONFIDENTIAL)
    plain = learn(high, {"client": "Zanzibar Ltd"}, "They pay late.")
    sealed = learn(high, {"client": "Zanzibar Ltd"}, "They pay late.", sensitivity="confidential")
    assert found(high, {"client": "zanzibar ltd"}) == [sealed, plain]
    assert found(high, {}, q="late") == [sealed, plain]
    tokens = {
        row: {token for (token,) in owner_sql.execute("select token from learning_key where learning_id = %s", [row])}
        for row in (plain, sealed)
    }
    assert len(tokens[plain]) == len(tokens[sealed]) > 3
    assert not tokens[plain] & tokens[sealed]  # the keyed ones cannot be told from the open ones
    reads = "select count(*) from access_log where reader_id = %s and row_id = %s"
    assert high.agent is not None
    before = owner_sql.execute(reads, [high.agent.membership.id, sealed]).fetchone()
    learn(high, {"client": "Zanzibar Ltd", "x": 1}, "They pay late.")
    assert sealed not in found(high, {"client": "zanzibar ltd", "x": 1}, limit=1)
    after = owner_sql.execute(reads, [high.agent.membership.id, sealed]).fetchone()
    assert after == before  # it was compared, and not shown


def test_odd_contexts_are_taken(api: Api) -> None:
    wide = {f"k{number:03}": "word " * 50 for number in range(300)}
    deep: Any = "leaf"
    for _ in range(25):
        deep = {"a": deep, "b": [deep]} if len(str(deep)) < 500 else {"a": deep}
    for context in (wide, deep, {"": "", "  ": [], "\\": {}, "a=b": [[]], "ü": "Ü" * 1000, "n": 2**53}):
        row = learn(api, context, {"x": "y" * 30_000})
        assert row in found(api, context)


def relevant(api: Api, body: Any) -> Reply:
    return api.post("learnings/relevant", body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"context": "retail"},
        {"context": None},
        {"context": {}, "limit": 0},
        {"context": {}, "limit": 101},
        {"context": {}, "limit": True},
        {"context": {}, "q": "x" * 20_001},
        {"context": {}, "signal_types": []},
        {"context": {}, "signal_types": ["luck"]},
        {"context": {}, "agent": "me"},
        {"context": {"a": "x" * 300_000}},
    ],
)
def test_bad_questions_are_refused(api: Api, body: Any) -> None:
    assert relevant(api, body).refusal == (400, "invalid")


def test_reading_needs_the_scope(team: Team) -> None:
    writer = make_api(team, scopes=["memory:write"])
    learn(writer)
    assert relevant(writer, {"context": {}}).refusal == (403, "forbidden")
    assert writer.get("learnings").refusal == (403, "forbidden")
    reader = make_api(team, scopes=["memory:read"])
    assert reader.post("learnings", {"signal_type": "success", "details": "x"}).refusal == (403, "forbidden")
