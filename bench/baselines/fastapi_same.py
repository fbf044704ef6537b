"""FastAPI, Pydantic and psycopg's async pool doing the product's work, on the product's own tables and as its login.

Key look-up, the viewer's settings for row-level security, the row, its event and number, the wait for the disk, and the
row read back in a second transaction of the same viewer. What follows the key travels in one pipeline. It has only what
P1 and P2 need: no rate limit, scope, lease, idempotency, sealed text or measured page.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import FastAPI, Header, HTTPException
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, Field
from uuid_utils.compat import uuid7

from bench.baselines.fastapi_plain import New

FIND = """
select m.id as member, m.team_id as team, m.clearance, m.compartments
from api_key k join membership m on m.id = k.membership_id join actor a on a.id = m.actor_id
where k.digest = %s and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())
  and m.is_active and a.is_active
"""
ENTER = """
select set_config('hub.team', %(team)s::text, true), set_config('hub.actor', %(member)s::text, true),
       set_config('hub.system', '', true), set_config('hub.agent', 'on', true),
       set_config('hub.labels', coalesce((select array_agg(id)::text from label where team_id = %(team)s
           and sensitivity <= %(clearance)s and compartments <@ %(compartments)s::varchar[]), '{}'), true)
"""
INSERT = """
with t as (select t.id, t.label_id, l.sensitivity from task t join label l on l.id = t.label_id where t.key = %(task)s),
made as (
    insert into observation (id, team_id, label_id, sensitivity, author_id, event_id, task_id, body, tags, importance,
                             private, pinned, occurred_at, expires_at, client_ref, created_at)
    select %(id)s, %(team)s, t.label_id, t.sensitivity, %(member)s, %(event)s, t.id, %(body)s, %(tags)s, %(importance)s,
           %(private)s, %(pinned)s, %(occurred_at)s, %(expires_at)s, %(client_ref)s, now() from t
    returning id, label_id, task_id
)
insert into event (id, team_id, label_id, type, actor_id, row_type, row_id, task_id, people, data)
select %(event)s, %(team)s, label_id, 'observation.log', %(member)s, 'observation', id, task_id, false, '{}' from made
"""
ROWS = """
select r.id, s.seq, l.sensitivity, l.compartments, m.name as author, r.created_at, t.key as task,
       r.body -> 'content' as content, r.tags, r.importance, r.private, r.pinned, r.occurred_at, r.expires_at,
       r.client_ref
from observation r join event_seq s on s.event_id = r.event_id join label l on l.id = r.label_id
     join membership m on m.id = r.author_id join task t on t.id = r.task_id
"""
READ = ROWS + " where r.id = %s"
LIST = ROWS + " where r.task_id = (select id from task where key = %s) order by r.id desc limit %s"
LEVELS = {0: "public", 1: "internal", 2: "confidential"}


class Observation(New):
    id: UUID
    seq: int
    sensitivity: str
    compartments: list[str]
    author: str
    created_at: datetime


class Made(Observation):
    duplicate: bool = False


class Page(BaseModel):
    next: str | None = None
    previous: str | None = None
    results: list[Observation]


pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=16,
    max_size=16,
    open=False,
    kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": 0},
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)
Key = Annotated[str, Header(alias="authorization")]


async def find(connection: psycopg.AsyncConnection[Any], key: str) -> dict[str, Any]:
    digest = hashlib.sha256(key.removeprefix("Bearer ").encode()).digest()
    viewer = await (await connection.execute(FIND, [digest])).fetchone()
    if viewer is None:
        raise HTTPException(401)
    return dict(viewer)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "sensitivity": LEVELS[row["sensitivity"]]}


@app.post("/observations", status_code=201)
async def post(new: New, authorization: Key) -> Made:
    made, event = uuid7(), uuid7()
    async with pool.connection() as connection:
        viewer = await find(connection, authorization)
        values = {**new.model_dump(exclude={"content"}), **viewer, "id": made, "event": event}
        values["body"] = Jsonb({"content": new.content})
        async with connection.pipeline():
            await connection.execute("begin")
            await connection.execute(ENTER, viewer)
            await connection.execute(INSERT, values)
            await connection.execute("commit")
            await connection.execute("select settle(%s)", [event])
            await connection.execute("begin")
            await connection.execute(ENTER, viewer)
            read = await connection.execute(READ, [made])
            await connection.execute("commit")
        row = await read.fetchone()
    if row is None:
        raise HTTPException(404)
    return Made(**shown(row))


@app.get("/observations")
async def get(task: str, authorization: Key, limit: Annotated[int, Field(ge=1, le=100)] = 50) -> Page:
    async with pool.connection() as connection:
        viewer = await find(connection, authorization)
        async with connection.pipeline():
            await connection.execute("begin")
            await connection.execute(ENTER, viewer)
            read = await connection.execute(LIST, [task, limit])
            await connection.execute("commit")
        rows = await read.fetchall()
    return Page(results=[Observation(**shown(row)) for row in rows])
