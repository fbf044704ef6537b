"""Facts: read now, as they were, many at once, by prefix; and what an escalation keeps of them."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from memoryhub.core.db.statements import run
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.selectors import facts
from memoryhub.memory.selectors import tasks as task_selectors
from tests.support.api import Api, make_api
from tests.support.factories import make_person
from tests.support.facts import delete, make, put


@pytest.fixture
def history(api: Api) -> list[dict[str, Any]]:
    """The versions of the fact `k`, oldest first: one, two, deleted, four."""
    second = put(api, "k", "two", make(api, "k", "one")).headers["ETag"]
    assert delete(api, "k", second).status == 204
    make(api, "k", "four")
    return list(reversed(api.results("facts/k/history")))


def value(api: Api, query: str, key: str = "k") -> Any:
    """The value that a read answers; its status where it is refused."""
    reply = api.get(f"facts/{key}?{query}")
    return reply.data["value"] if reply.status == 200 else reply.status


def test_history_is_newest_first_and_pages(api: Api, history: list[dict[str, Any]]) -> None:
    assert [row["version"] for row in history] == [1, 2, 3, 4]
    assert [row["deleted"] for row in history] == [False, False, True, False]
    assert {row["author"] for row in history} == {api.name}
    assert [row["seq"] for row in history] == sorted({row["seq"] for row in history})
    assert len({row["id"] for row in history}) == 1
    first = api.get("facts/k/history?limit=3")
    assert [row["version"] for row in first.data["results"]] == [4, 3, 2]
    second = api.get(first.data["next"])
    assert ([row["version"] for row in second.data["results"]], second.data["next"]) == ([1], None)
    back = api.get(second.data["previous"])
    assert back.data["results"] == first.data["results"]
    assert api.get("facts/none/history").status == 404


def test_as_of_a_seq(api: Api, history: list[dict[str, Any]]) -> None:
    seqs = [row["seq"] for row in history]
    assert [value(api, f"as_of_seq={seq}") for seq in seqs] == ["one", "two", 404, "four"]
    assert [value(api, f"as_of_seq={seq - 1}") for seq in seqs] == [404, "one", "two", 404]
    assert value(api, f"as_of_seq={seqs[-1] + 1000}") == "four"
    assert value(api, "as_of_seq=0") == 404
    old = api.get(f"facts/k?as_of_seq={seqs[0]}")
    assert re.fullmatch(f'"{history[0]["id"]}[.]1[.][0-9a-f]{{8}}"', old.headers["ETag"])
    assert {**old.data, "deleted": False} == history[0]


def test_as_of_a_time(api: Api, history: list[dict[str, Any]]) -> None:
    times = [row["created_at"] for row in history]
    assert [value(api, f"as_of_time={time}") for time in times] == ["one", "two", 404, "four"]
    assert value(api, "as_of_time=2026-01-01T00:00:00Z") == 404
    assert value(api, "as_of_time=2999-01-01T00:00:00Z") == "four"


def test_as_of_both_is_refused(api: Api) -> None:
    make(api, "k", 1)
    reply = api.get("facts/k?as_of_seq=1&as_of_time=2026-01-01T00:00:00Z")
    assert (reply.refusal, reply.data["errors"][0]["pointer"]) == ((400, "invalid"), "?as_of_time")


def test_as_of_finds_each_of_many_versions(api: Api) -> None:
    etag = make(api, "k", 1)
    for number in range(2, 24):
        etag = put(api, "k", number, etag).headers["ETag"]
    rows = api.results("facts/k/history?limit=100")
    assert [value(api, f"as_of_seq={row['seq']}") for row in rows] == [row["value"] for row in rows]
    assert [row["value"] for row in rows] == list(range(23, 0, -1))


MANY = """
with added as (
    insert into fact_version (id, team_id, label_id, sensitivity, body, author_id, event_id, task_id, fact_id,
        version, deleted)
    select uuidv7(), v.team_id, v.label_id, v.sensitivity, v.body, v.author_id, uuidv7(), v.task_id, v.fact_id,
        n, false from fact_version v, generate_series(2, 5000) n where v.fact_id = %(fact)s
    returning team_id, event_id, version)
insert into event_seq (team_id, seq, event_id)
    select team_id, version + (select max(seq) from event_seq s where s.team_id = added.team_id), event_id from added
"""


@pytest.mark.parametrize("analysed", ["before", "after"])
def test_as_of_reads_a_few_of_many_versions(api: Api, owner_sql: Any, analysed: str) -> None:
    """A read of every version would take minutes where a fact counts up to a million; whatever the planner knows."""
    api.make("tasks", {"key": "t", "title": "T"})
    fact = make(api, "k", 1, task="t")[1:37]
    if analysed == "before":
        owner_sql.execute("analyze fact_version, event_seq")
    owner_sql.execute(MANY, {"fact": fact})
    owner_sql.execute("update fact set version = 5000 where id = %s", [fact])
    if analysed == "after":
        owner_sql.execute("analyze fact_version, event_seq")
    assert api.agent is not None
    viewer, now = api.agent.viewer, datetime.now(UTC)
    (last,) = owner_sql.execute("select max(seq) from event_seq where team_id = %s", [viewer.team]).fetchone()
    with viewer_transaction(viewer, read_only=True):
        task = task_selectors.ref_by_key(viewer, "t").id
        assert facts.as_of(viewer, "k", seq=last - 1000).answer.version == 4000
        assert facts.as_of(viewer, "k", time=now).answer.version == 5000
        assert [
            row.answer.version for row in facts.of_task(viewer, task, seq=last - 1000, time=now, most_bytes=2**20)[0]
        ] == [4000]
        ((read,),) = run(
            "select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables where relname = 'fact_version'"
        )
    assert 0 < read < 500  # by which index a version is found makes some difference; a scan reads all 5,000, thrice


def test_a_time_to_live_is_judged_at_the_time_asked_about(api: Api) -> None:
    make(api, "k", 1, ttl_seconds=600)
    assert value(api, "as_of_time=2999-01-01T00:00:00Z") == 404
    assert value(api, f"as_of_time={api.get('facts/k').data['created_at']}") == 1


def test_who_has_the_version_already_is_not_sent_it(api: Api) -> None:
    etag = make(api, "k", 1)
    for header in (etag, f'"x", W/{etag}', "*"):
        reply = api.get("facts/k", headers={"If-None-Match": header})
        assert (reply.status, reply.data, reply.headers["ETag"]) == (304, None, etag)
    changed = put(api, "k", 2, etag).headers["ETag"]
    reply = api.get("facts/k", headers={"If-None-Match": etag})
    assert (reply.status, reply.data["value"], reply.headers["ETag"]) == (200, 2, changed)
    assert api.get("facts/none", headers={"If-None-Match": "*"}).status == 404


# Lists


def keys(api: Api, query: str = "") -> list[str]:
    return [row["key"] for row in api.results(f"facts?{query}")]


def test_list_by_key_and_prefix(api: Api) -> None:
    for key in ("b", "price_a", "price-b", "priceXc", "price_~z", "A", "price"):
        make(api, key, key)
    assert delete(api, "b", make(api, "gone", 1)).status == 412
    assert delete(api, "gone", api.get("facts/gone").headers["ETag"]).status == 204
    assert keys(api) == ["A", "b", "price", "price-b", "priceXc", "price_a", "price_~z"]
    assert keys(api, "prefix=price_") == ["price_a", "price_~z"]
    assert keys(api, "prefix=price") == ["price", "price-b", "priceXc", "price_a", "price_~z"]
    assert keys(api, "prefix=~") == keys(api, "prefix=B") == []
    assert api.get("facts?prefix=%25").status == 400  # no key has it


def test_list_pages_neither_skip_nor_repeat(api: Api) -> None:
    names = [f"k{number:02}" for number in range(12)]
    for name in names:
        make(api, name, name)
    page = api.get("facts?limit=5&prefix=k")
    make(api, "a", "before all")
    make(api, "k04a", "just after")
    seen = [row["key"] for row in page.data["results"]]
    while page.data["next"]:
        page = api.get(page.data["next"])
        seen += [row["key"] for row in page.data["results"]]
    assert seen == sorted([*names, "k04a"])
    assert [row["key"] for row in api.get(page.data["previous"]).data["results"]] == seen[5:10]


def test_list_of_a_task_and_valid_at(api: Api) -> None:
    for task in ("t", "u"):
        api.make("tasks", {"key": task, "title": task})
    make(api, "always", 1, task="t")
    make(api, "then", 1, task="t", valid_from="2026-01-01T00:00:00Z", valid_to="2026-02-01T00:00:00Z")
    make(api, "later", 1, valid_from="2026-02-01T00:00:00Z")
    make(api, "other", 1, task="u")
    assert keys(api, "task=t") == ["always", "then"]
    assert keys(api, "task=u") == ["other"]
    assert keys(api, "valid_at=2026-01-31T23:59:59Z") == ["always", "other", "then"]
    assert keys(api, "valid_at=2026-02-01T00:00:00Z&task=t") == ["always"]
    assert keys(api, "valid_at=2026-02-01T00:00:00Z") == ["always", "later", "other"]
    assert api.get("facts?task=none").status == 404


def test_prefixes_use_the_index(api: Api, owner_sql: Any) -> None:
    where = "team_id = 1 and key >= 'a' and key < 'a' || chr(127)"
    plan = f"explain select id from fact where {where} order by key, id limit 9"
    with owner_sql.transaction(force_rollback=True):
        # A table of few rows is read and sorted at no cost: the plan is to be that of many.
        owner_sql.execute("set local enable_seqscan = off; set local enable_sort = off")
        lines = [line for (line,) in owner_sql.execute(plan)]
    assert any("fact_by_key" in line for line in lines), lines
    assert any("key" in line and "Index Cond" in line for line in lines), lines
    assert not any("Sort" in line for line in lines), lines


# Many at once


def test_read_many(api: Api) -> None:
    for key in ("a", "b"):
        make(api, key, key)
    delete(api, "gone", make(api, "gone", 1))
    reply = api.post("facts/read", {"keys": ["b", "none", "a", "gone", "b"]})
    assert reply.status == 200
    assert {key: row["value"] for key, row in reply.data["facts"].items()} == {"a": "a", "b": "b"}
    assert reply.data["facts"]["a"] == api.get("facts/a").data
    assert (reply.data["missing"], reply.data["ambiguous"]) == (["none", "gone"], {})
    assert api.post("facts/read", {"keys": ["a"] * 200}).status == 200
    for bad in ([], ["a"] * 201, "a", ["a b"], [1], None):
        assert api.post("facts/read", {"keys": bad}).refusal == (400, "invalid"), bad


# What rides on it


def test_events_name_key_and_version_and_nothing_else(api: Api, team: Team, owner_sql: Any) -> None:
    api.make("tasks", {"key": "t", "title": "T"})
    etag = make(api, "k", "secret", task="t")
    delete(api, "k", etag)
    rows = owner_sql.execute(
        "select type, row_type, row_id::text, data, task_id is not null from event"
        " where team_id = %s and row_type = 'fact' order by id",
        [team.id],
    ).fetchall()
    fact = etag[1:37]
    assert rows == [
        ("fact.put", "fact", fact, {"key": "k", "version": 1}, True),
        ("fact.delete", "fact", fact, {"key": "k", "version": 2}, False),
    ]


def test_a_package_has_the_tasks_facts_as_they_were(api: Api, team: Team) -> None:
    for task in ("t", "u"):
        api.make("tasks", {"key": task, "title": task})
    kept = put(api, "kept", 2, make(api, "kept", 1, task="t"), task="t").headers["ETag"]
    moved = make(api, "moved", 1, task="t")
    put(api, "left", 1, make(api, "left", 0, task="t"), task="u")
    delete(api, "gone", make(api, "gone", 1, task="t"))
    make(api, "teamwide", 1)
    asked = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    made = api.make("escalations", asked)

    def packed() -> Any:
        return api.get(f"escalations/{made['id']}/package").data["full_context"]["facts"]

    first = packed()
    assert [(row["key"], row["value"], row["version"], row["task"]) for row in first] == [
        ("kept", 2, 2, "t"),
        ("moved", 1, 1, "t"),
    ]
    assert made["package"]["full_context"]["facts"] == first
    put(api, "kept", 3, kept, task="t")
    put(api, "moved", 2, moved, task="u")
    delete(api, "moved", api.get("facts/moved").headers["ETag"])
    make(api, "new", 1, task="t")
    assert packed() == first


def test_people_are_told_how_many_facts_are_withheld(team: Team) -> None:
    from escalations.selectors import escalations

    high = make_api(team, 2, ["finance"])
    high.make("tasks", {"key": "t", "title": "T", "sensitivity": "internal"})
    hidden = {"task": "t", "sensitivity": "confidential", "compartments": ["finance"]}
    etag = make(high, "a", 1, **hidden)
    put(high, "a", 2, etag, **hidden)
    delete(high, "b", make(high, "b", 1, **hidden))
    make(high, "c", 1, task="t")
    asked = {"task": "t", "reason_code": "other", "reason": "r", "question": "q"}
    made = high.make("escalations", asked)
    make(high, "d", 1, **hidden)
    person = make_person(team).viewer
    with viewer_transaction(person, read_only=True):
        row = escalations.escalation(person, made["id"])
        assert escalations.withheld(person, row) == 1


def test_a_change_writes_no_index(owner_sql: Any) -> None:
    """So that a fact that is changed all day bloats nothing: PostgreSQL keeps its new versions on the page (HOT)."""
    indexed = owner_sql.execute(
        "select distinct a.attname from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
        " and a.attnum = any (i.indkey::int2[]) where i.indrelid = 'fact'::regclass"
    ).fetchall()
    assert {name for (name,) in indexed} == {"id", "team_id", "label_id", "key", "task_id"}
