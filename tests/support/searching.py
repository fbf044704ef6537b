"""What the tests of search share: a memory that is indexed, and what a query finds in it."""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import urlencode

from memoryhub.core.models import Team
from memoryhub.memory.search import embeddings, vector_indexer
from memoryhub.memory.search.indexer import catch_up
from memoryhub.memory.search.vector_indexer import BatchOutcome
from tests.support.api import Api, Reply


def ask(api: Api, q: str, **more: Any) -> Reply:
    """GET /search; the index first follows the ledger to its end."""
    assert api.agent is not None
    catch_up(api.agent.membership.team_id)
    return api.get(f"search?{urlencode({'q': q, **more})}")


def hits(api: Api, q: str, **more: Any) -> list[Any]:
    reply = ask(api, q, **more)
    assert reply.status == 200, reply
    found: list[Any] = reply.data["results"]
    return found


def found(api: Api, q: str, **more: Any) -> list[Any]:
    """The contents that a query finds, the best first."""
    return [hit["row"].get("content", hit["row"].get("decision")) for hit in hits(api, q, **more)]


def exact(api: Api, q: str, **more: Any) -> list[Any]:
    """The contents of those hits that have all phrases of the query."""
    return [hit["row"]["content"] for hit in hits(api, q, **more) if "relaxed" not in hit]


def remember(api: Api, *contents: Any, **more: Any) -> list[str]:
    """Log these, one after the other; their ids."""
    made = api.make("observations/batch", {"items": [{"content": content, **more} for content in contents]})
    return [result["id"] for result in made["results"]]


def indexed(owner_sql: Any, team: Team, table: str = "search_doc") -> int:
    """How many rows of an index table are the team's."""
    shelves = "select id from search_shelf where team_id = %s"
    ((count,),) = owner_sql.execute(f"select count(*) from {table} where shelf_id in ({shelves})", [team.id]).fetchall()
    return int(count)


def kept(owner_sql: Any, team: Team) -> int:
    """How many of the team's rows have a vector."""
    return indexed(owner_sql, team, "search_vector")


def embed(team: Team) -> list[BatchOutcome]:
    """Index and embed all that there is; the outcomes of the batches."""
    catch_up(team.id)
    return list(
        itertools.takewhile(
            lambda outcome: outcome is BatchOutcome.SENT, iter(lambda: vector_indexer.embed(team.id), None)
        )
    )


def forget_endpoint() -> None:
    """Forget what this process keeps of the embeddings endpoint."""
    embeddings._away_until = 0.0
    embeddings._kept.clear()
    embeddings._client.cache_clear()
