"""The index: followed by the worker, made anew by the command, and really used."""

import time
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from memoryhub.core.db.statements import run
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.search import indexer, query
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.ranking import SearchFilters, find
from tests.support.api import Api
from tests.support.hidden import plain
from tests.support.searching import found, hits, indexed, remember

WAIT_SECONDS = 20


@pytest.mark.usefixtures("worker")
def test_the_worker_indexes_what_was_written_within_seconds(api: Api) -> None:
    remember(api, "a solitary cormorant")
    deadline = time.monotonic() + WAIT_SECONDS
    while not api.results("search?q=cormorant"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_index_made_anew_answers_the_same(team: Team, api: Api, owner_sql: psycopg.Connection[Any]) -> None:
    remember(api, *[f"pump {number} of line {number % 3}" for number in range(50)])
    remember(api, "my guess", private=True)
    before = [plain(api_reply, team) for api_reply in _ask(api)]
    owner_sql.execute("update search_doc set length = length + 7")  # a control: what is made anew is really new
    assert [plain(reply, team) for reply in _ask(api)] != before
    call_command("reindex_search", team=team.slug)
    assert [plain(reply, team) for reply in _ask(api)] == before
    assert indexed(owner_sql, team) == 51


def _ask(api: Api) -> list[Any]:
    assert api.agent is not None
    catch_up(api.agent.membership.team_id)
    return [api.get(f"search?q={q}") for q in ("pump", "pump+line+2", "guess", "pum")]


def test_an_event_that_comes_twice_counts_once(team: Team, api: Api, owner_sql: psycopg.Connection[Any]) -> None:
    remember(api, "one pump", "two pumps")
    catch_up(team.id)
    before = _statistics(owner_sql, team)
    owner_sql.execute("update search_state set seq = 0 where team_id = %s", [team.id])
    catch_up(team.id)
    assert _statistics(owner_sql, team) == before
    assert len(found(api, "pump")) == 2


def _statistics(owner_sql: psycopg.Connection[Any], team: Team) -> Any:
    shelves = "select id from search_shelf where team_id = %s"
    terms = f"select term, docs from search_term where shelf_id in ({shelves}) order by term"
    cells = f"select sum(docs), sum(length) from search_cell where shelf_id in ({shelves})"
    return owner_sql.execute(terms, [team.id]).fetchall(), owner_sql.execute(cells, [team.id]).fetchall()


def test_what_has_expired_is_not_found_and_leaves_the_index(
    team: Team, api: Api, owner_sql: psycopg.Connection[Any]
) -> None:
    (row,) = remember(api, "a passing gasket", expires_at="2999-01-01T00:00:00Z")
    assert len(hits(api, "gasket")) == 1
    for table in ("observation", "search_doc"):
        key = "id" if table == "observation" else "row_id"
        owner_sql.execute(f"update {table} set expires_at = now() - interval '1 s' where {key} = %s", [row])
    assert found(api, "gasket") == []
    remember(api, "something else")
    catch_up(team.id)
    assert indexed(owner_sql, team) == 1


def test_a_large_shelf_has_larger_cells(team: Team, api: Api, owner_sql: psycopg.Connection[Any]) -> None:
    kept = indexer.CELL, indexer.CELLS
    indexer.CELL, indexer.CELLS = 4, 4
    try:
        for _ in range(6):
            remember(api, *["pump"] * 10)
            catch_up(team.id)
    finally:
        indexer.CELL, indexer.CELLS = kept
    cells = (
        "select docs from search_cell where shelf_id in (select id from search_shelf where team_id = %s) order by id"
    )
    sizes = [docs for (docs,) in owner_sql.execute(cells, [team.id]).fetchall()]
    assert sizes[0] == 4
    assert max(sizes) > 8
    assert sum(sizes) == 60
    assert len(hits(api, "pump", limit=100)) == 60


def test_search_uses_its_index_where_row_level_security_would_hide_it(
    team: Team, api: Api, owner_sql: psycopg.Connection[Any], app_sql: psycopg.Connection[Any]
) -> None:
    """The recipe of DESIGN, section 10: inside the function, the words' index; for the app role itself, every row."""
    remember(api, *[f"pump {number} of line {number % 3}" for number in range(300)])
    catch_up(team.id)
    scans = """select pg_stat_get_xact_numscans('search_doc_words'::regclass),
                      pg_stat_get_xact_numscans('search_doc'::regclass)"""
    assert api.agent is not None
    with viewer_transaction(api.agent.viewer, read_only=True) as transaction:
        before = run(scans)
        assert len(find(transaction.viewer, query.read("pump 7"), SearchFilters(), mode="hybrid", limit=10)) == 10
        after = run(scans)
    ((uses, reads),), ((uses_then, reads_then),) = before, after
    assert uses_then > uses
    assert reads_then == reads

    look = "explain select 1 from search_doc where words @@ '''1:pump'''::tsquery"
    with owner_sql.transaction():
        owner_sql.execute("set local enable_seqscan = off")
        assert "search_doc_words" in _plan(owner_sql, look)
    with app_sql.transaction():
        app_sql.execute("set local enable_seqscan = off")
        assert "search_doc_words" not in _plan(app_sql, look)  # the control


def _plan(connection: psycopg.Connection[Any], explain: str) -> str:
    return "\n".join(line for (line,) in connection.execute(explain).fetchall())
