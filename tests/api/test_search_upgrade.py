"""After an upgrade, rows that an earlier edition indexed are found throughout, and in the end as new ones are."""

from functools import partial
from importlib import import_module
from typing import Any

import psycopg
import pytest

from memoryhub.config.celery import app
from memoryhub.core.models import Team
from memoryhub.memory.search import rebuild as rebuilding
from memoryhub.memory.search import tasks, upgrade, vector_indexer
from memoryhub.memory.search.indexer import EDITION, catch_up
from memoryhub.memory.search.terms import PART
from tests.support import facts
from tests.support.api import Api, at_once
from tests.support.decisions import decide, revoke
from tests.support.embeddings import Endpoint
from tests.support.hidden import plain
from tests.support.searching import ask, embed, found, hits, indexed, kept, remember

MIGRATION = import_module("memoryhub.memory.migrations.0016_search_reads_postings")
LATER = ["wrong", "order"]  # of a decision's revocation, which an earlier edition did not index
QUERIES = ["pump hose", "pump", "the who", "wrong order", "cormorant", '"red pump"', "hos", "price"]
SHELVES = "select id from search_shelf where team_id = %(team)s"

# The index as the migration leaves it: no further parts, no stop words, no tasks, not all texts of a decision.
AGE = [
    "select from search_state where team_id = %(team)s for update",
    f"delete from search_doc where shelf_id in ({SHELVES}) and part_of is not null",
    f"""update search_doc set task_id = null, words = ts_delete(words, (
        select coalesce(array_agg(l), '{{}}') from unnest(tsvector_to_array(words)) l
        where l like '=s%%' or (type = 'decision' and l = any (%(later)s::text[]))))
    where shelf_id in ({SHELVES})""",
    f"delete from search_posting where shelf_id in ({SHELVES})",
    f"""insert into search_posting (shelf_id, term, cell_id, entries)
    select d.shelf_id, w.lexeme collate "C", d.cell_id, string_agg(int2send(d.number::int2)
        || set_byte('\\x00'::bytea, 0, least(greatest(coalesce(cardinality(w.positions), 1), 1), 255))
        || int2send(least(d.length, 32767)::int2), ''::bytea order by d.number)
    from search_doc d cross join unnest(d.words) w where d.shelf_id in ({SHELVES}) group by d.shelf_id, 2, d.cell_id""",
    f"""update search_cell c set docs = n.docs, length = n.length from (
        select cell_id, count(*) as docs, sum(length) as length from search_doc group by cell_id) n
    where n.cell_id = c.id and c.shelf_id in ({SHELVES})""",
]


def make_memory(team: Team, api: Api) -> dict[str, list[str]]:
    """Rows of all kinds; by a word that finds them, their ids."""
    api.make("tasks", {"key": "t", "title": "T"})
    pump, hose, _, seven = remember(api, "red pump", "blue hose", "the who", "valve seven", task="t")
    refund = decide(api).data["id"]
    assert revoke(api, refund).status == 200
    routine = remember(api, *[f"routine {number} of the day" for number in range(12)])
    lamp = remember(api, "lamp " + " ".join(f"w{number}" for number in range(PART + 500)) + " cormorant")
    facts.make(api, "price", "eleven")
    twice = api.make("learnings", {"signal_type": "pattern", "details": "look twice", "context": {}})["id"]
    catch_up(team.id)
    few = {"pump": [pump], "hose": [hose], "seven": [seven], "refund": [refund], "twice": [twice]}
    return {**few, "routine": routine, "lamp": lamp}


def age(owner_sql: psycopg.Connection[Any], team: Team) -> None:
    """Make the team's index what an earlier edition left."""
    with owner_sql.transaction():
        for statement in AGE:
            owner_sql.execute(statement, {"team": team.id, "later": LATER})


def outdate(owner_sql: psycopg.Connection[Any], team: Team) -> None:
    """Say that an earlier edition has indexed the team's rows: from now on a running worker may index them anew."""
    owner_sql.execute("update search_state set edition = 1 where team_id = %s", [team.id])


def told(api: Api, team: Team) -> list[str]:
    return [plain(ask(api, q, limit=50), team) for q in QUERIES]


def assert_all_found(api: Api, memory: dict[str, list[str]]) -> None:
    for word, rows in memory.items():
        assert sorted(hit["id"] for hit in hits(api, word, limit=50)) == sorted(rows), word
    assert len(hits(api, "eleven")) == 1


@pytest.fixture
def memory(team: Team, api: Api, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A small memory, of which few rows are indexed anew at a time."""
    monkeypatch.setattr(upgrade, "BATCH", 6)
    monkeypatch.setattr(rebuilding, "MEASURED", 6)
    return make_memory(team, api)


def test_rows_of_an_earlier_edition_are_found_throughout_and_in_the_end_as_new_ones(
    team: Team, api: Api, owner_sql: Any, memory: dict[str, list[str]]
) -> None:
    """Fails when an upgrade makes rows vanish for a while, or leaves them without what the new edition can do."""
    before, docs = told(api, team), indexed(owner_sql, team)
    assert team.id not in upgrade.outdated()
    age(owner_sql, team)
    assert [hits(api, q) for q in ("wrong order", "cormorant", '"the who"')] == [[], [], []], "the control"
    pump, hose = (hit["score"] for hit in hits(api, "pump hose"))
    assert pump == hose, "nor do neighbours lend"
    assert_all_found(api, memory)
    outdate(owner_sql, team)
    assert team.id in upgrade.outdated()
    while upgrade.upgrade(team.id) or team.id in upgrade.outdated():
        assert_all_found(api, memory)
    assert told(api, team) == before
    assert indexed(owner_sql, team) == docs
    assert not upgrade.upgrade(team.id)
    assert told(api, team) == before


def test_a_new_team_is_of_the_present_edition(team: Team, api: Api, owner_sql: Any) -> None:
    """Fails when what is indexed now is indexed once more by and by."""
    remember(api, "red pump")
    catch_up(team.id)
    assert owner_sql.execute("select edition from search_state where team_id = %s", [team.id]).fetchone() == (EDITION,)
    assert not upgrade.upgrade(team.id)


def test_vectors_are_kept_and_nothing_is_sent_again(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any, memory: dict[str, list[str]]
) -> None:
    """Fails when an upgrade sends the whole memory to the endpoint a second time, or forgets what was due."""
    embed(team)
    assert indexed(owner_sql, team, "search_vector") > 15
    (due,) = remember(api, "a late flight")
    catch_up(team.id)
    sent, vectors = len(endpoint.texts), kept(owner_sql, team)
    meant = {hit["id"]: hit["score"] for hit in hits(api, "red pump", mode="semantic", limit=50)}
    age(owner_sql, team)
    outdate(owner_sql, team)
    sent = len(endpoint.texts)
    while upgrade.upgrade(team.id) or team.id in upgrade.outdated():
        pass
    assert kept(owner_sql, team) == vectors
    assert len(endpoint.texts) == sent
    assert {hit["id"]: hit["score"] for hit in hits(api, "red pump", mode="semantic", limit=50)} == meant
    embed(team)
    assert endpoint.texts[sent:] == ["a late flight"]
    assert due in [hit["id"] for hit in hits(api, "delayed plane", mode="semantic")]


def test_two_workers_at_once_index_each_row_once(
    team: Team, api: Api, owner_sql: Any, memory: dict[str, list[str]]
) -> None:
    """Fails when workers wait for one another, or count rows twice."""
    before, docs = told(api, team), indexed(owner_sql, team)
    age(owner_sql, team)
    outdate(owner_sql, team)
    while team.id in upgrade.outdated():
        at_once(*[partial(upgrade.upgrade, team.id)] * 2, partial(catch_up, team.id))
    assert indexed(owner_sql, team) == docs
    assert told(api, team) == before


def test_a_worker_that_dies_leaves_nothing_half_done(
    team: Team, api: Api, owner_sql: Any, memory: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when rows are lost or doubled because a worker was killed within a batch, or between two."""
    before, docs = told(api, team), indexed(owner_sql, team)
    age(owner_sql, team)
    outdate(owner_sql, team)
    put_back = vector_indexer.put_back

    def dies(*given: Any) -> None:
        raise InterruptedError

    deaths = 0
    while team.id in upgrade.outdated():
        monkeypatch.setattr(vector_indexer, "put_back", dies)
        try:
            upgrade.upgrade(team.id)
        except InterruptedError:
            deaths += 1
        assert_all_found(api, memory)
        monkeypatch.setattr(vector_indexer, "put_back", put_back)
        upgrade.upgrade(team.id)
    assert deaths
    assert indexed(owner_sql, team) == docs
    assert told(api, team) == before


def test_rows_that_are_written_and_changed_meanwhile_are_there_once(
    team: Team, api: Api, owner_sql: Any, memory: dict[str, list[str]]
) -> None:
    """Fails when an upgrade holds up new rows, or brings back what was changed while it ran."""
    etag = facts.make(api, "cost", "gannet")
    catch_up(team.id)
    docs = indexed(owner_sql, team)
    age(owner_sql, team)
    outdate(owner_sql, team)
    new = 0
    for _ in range(4):
        upgrade.upgrade(team.id)
        (row,) = remember(api, f"meanwhile n{new}", task="t")
        assert [hit["id"] for hit in hits(api, f"n{new}")] == [row]
        new += 1
        if new == 2:
            facts.make(api, "cost", "puffin", etag)
    while upgrade.upgrade(team.id) or team.id in upgrade.outdated():
        pass
    assert indexed(owner_sql, team) == docs + new
    assert len(hits(api, "meanwhile", limit=100)) == new
    assert found(api, "gannet") == []
    assert len(hits(api, "puffin")) == 1
    assert_all_found(api, memory)


def test_the_background_task_does_it(team: Team, api: Api, owner_sql: Any, memory: dict[str, list[str]]) -> None:
    """Fails when nobody starts the upgrade, or one team's failure stops it for the others."""
    before = told(api, team)
    age(owner_sql, team)
    outdate(owner_sql, team)
    assert tasks.upgrade_index.name in {entry["task"] for entry in app.conf.beat_schedule.values()}
    while team.id in upgrade.outdated():
        tasks.upgrade_index()
    assert told(api, team) == before


OLD = """
create schema earlier;
set local search_path to earlier, public;
create table search_cell (id int primary key, shelf_id int, docs int, length bigint);
create table search_doc (row_id uuid primary key, shelf_id int, cell_id int, words tsvector, length int);
create index search_doc_words on search_doc using gin (words);
create index search_doc_newest on search_doc (cell_id, row_id);
create table search_term (term text);
"""
FILL = f"""
insert into earlier.search_cell select id, shelf_id, 0, 0 from public.search_cell where shelf_id in ({SHELVES});
insert into earlier.search_doc select row_id, shelf_id, cell_id, (
    select string_agg('''' || to_hex(cell_id) || ':' || replace(replace(w.lexeme, '\\', '\\\\'), '''', '''''') || ''''
                      || coalesce(':' || array_to_string(w.positions, ','), ''), ' ')
    from unnest(words) w)::tsvector, length
from public.search_doc where shelf_id in ({SHELVES})
"""
POSTINGS = """
select p.term, d.row_id, substr(e.entry, 3) from {0}.search_posting p
cross join lateral generate_series(0, length(p.entries) / 5 - 1) n
cross join lateral (select substr(p.entries, 5 * n + 1, 5) as entry) e
join {0}.search_doc d on d.cell_id = p.cell_id and d.number = 256 * get_byte(e.entry, 0) + get_byte(e.entry, 1)
where p.shelf_id in ({1}) and d.shelf_id = p.shelf_id order by 1, 2
"""
COMPARED = [
    POSTINGS,
    "select row_id, cell_id, words::text from {0}.search_doc where shelf_id in ({1}) order by 1",
    "select id, docs, filled, length from {0}.search_cell where shelf_id in ({1}) order by 1",
]


def test_the_migration_converts_an_index_to_what_the_indexer_writes(
    team: Team, api: Api, owner_sql: psycopg.Connection[Any], memory: dict[str, list[str]]
) -> None:
    """Fails when search finds less, or something else, between an upgrade and the end of the work after it."""
    remember(api, "it's a back\\slash: a:b c'd", {"a": ["x' y", "\\"]}, "pump " * 300, "o'clock:12")
    rebuilding.rebuild(team.id)  # so that no number is left out
    params = {"team": team.id}
    with owner_sql.transaction(force_rollback=True):
        owner_sql.execute(OLD)
        for statement in FILL.split(";\n"):
            owner_sql.execute(statement, params)
        owner_sql.execute(MIGRATION.POSTINGS)
        owner_sql.execute(MIGRATION.CONVERT)
        for statement in COMPARED:
            converted, written = (
                owner_sql.execute(statement.format(schema, SHELVES), params).fetchall()
                for schema in ("earlier", "public")
            )
            assert len(written) >= 1
            assert converted == written
