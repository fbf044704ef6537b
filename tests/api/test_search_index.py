"""The index: followed by the worker, made anew by the command, and really used."""

import re
import time
from typing import Any

import psycopg
import pytest
from django.core.management import call_command

from memoryhub.core.access.clearance import label_params
from memoryhub.core.db.statements import run
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.search import indexer, lookup
from memoryhub.memory.search.indexer import catch_up
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
    owner_sql.execute("update search_cell set length = length * 7")  # a control: what is made anew is really new
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
    terms = f"""select term, sum(octet_length(entries)) from search_posting where shelf_id in ({shelves})
        group by term order by term"""
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


def test_a_large_shelf_has_larger_cells(
    team: Team, api: Api, owner_sql: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer, "CELL", 4)
    for _ in range(6):
        remember(api, *["pump"] * 10)
        catch_up(team.id)
    cells = (
        "select docs from search_cell where shelf_id in (select id from search_shelf where team_id = %s) order by id"
    )
    sizes = [docs for (docs,) in owner_sql.execute(cells, [team.id]).fetchall()]
    assert sizes[0] == 4
    assert max(sizes) > 8
    assert sum(sizes) == 60
    assert len(hits(api, "pump", limit=100)) == 60


def test_search_uses_its_index_under_row_level_security(team: Team, api: Api) -> None:
    """Terms are found by equality, whose function is leakproof, so that the policies leave the index its use."""
    remember(api, *[f"pump {number} of line {number % 3}" for number in range(300)])
    catch_up(team.id)
    assert api.agent is not None
    with viewer_transaction(api.agent.viewer, read_only=True) as transaction:
        params = label_params(transaction.viewer) | {"own": transaction.viewer.membership}
        params |= {"terms": ["pump", "line"], "at_once": 0}
        assert len(run(lookup._COUNTS, params)) == 2
        plan = _plan(lookup._COUNTS, params)
        assert "search_posting_pkey" in plan
        assert re.search(r"Index Cond: \(.*term = ANY", plan)
        like = lookup._COUNTS.replace("p.term = any (array(select unnest(%(terms)s::text[])))", "p.term like 'pum%%'")
        assert not re.search(r"Index Cond: \(.*term", _plan(like, params)), "the control"


def _plan(statement: str, params: Any) -> str:
    return "\n".join(line for (line,) in run(f"explain {statement}", params))
