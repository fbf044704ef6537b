"""FastAPI, Pydantic and psycopg's async pool, one uvicorn worker: the plain insert and the plain list.

No key, no labels, no row-level security, no ledger: one statement per request, in autocommit, so it is hard to beat.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import FastAPI, HTTPException
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from bench.baselines.tables import AUTHOR

COLUMNS = "id, content, tags, importance, private, pinned, occurred_at, expires_at, client_ref, created_at"
INSERT = f"""
with made as (
    insert into observation (id, task_id, author_id, content, tags, importance, private, pinned, occurred_at,
                             expires_at, client_ref)
    select %(id)s, task.id, %(author)s, %(content)s, %(tags)s, %(importance)s, %(private)s, %(pinned)s,
           %(occurred_at)s, %(expires_at)s, %(client_ref)s
    from task where task.key = %(task)s
    returning {COLUMNS}
)
select made.*, author.name as author from made, author where author.id = %(author)s
"""
LIST = f"""
select {", ".join(f"observation.{name}" for name in COLUMNS.split(", "))}, author.name as author
from observation join task on task.id = task_id join author on author.id = author_id
where task.key = %s order by observation.id desc limit %s
"""


class New(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:@~-]+$")]
    content: dict[str, Any] | str
    tags: Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=50)] = []
    importance: Annotated[float, Field(ge=0, le=1)] | None = None
    private: bool = False
    pinned: bool = False
    occurred_at: datetime | None = None
    expires_at: datetime | None = None
    client_ref: Annotated[str, Field(max_length=200)] | None = None


class Observation(New):
    id: UUID
    author: str
    created_at: datetime


class Page(BaseModel):
    results: list[Observation]


pool = AsyncConnectionPool(
    os.environ["DATABASE_URL"],
    min_size=16,
    max_size=16,
    open=False,
    kwargs={"autocommit": True, "row_factory": dict_row},
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with pool:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/observations", status_code=201)
async def post(new: New) -> Observation:
    values = {**new.model_dump(), "content": Jsonb(new.content), "id": uuid4(), "author": AUTHOR}
    async with pool.connection() as connection:
        row = await (await connection.execute(INSERT, values)).fetchone()
    if row is None:
        raise HTTPException(404)
    return Observation(task=new.task, **row)


@app.get("/observations")
async def get(task: str, limit: Annotated[int, Field(ge=1, le=100)] = 50) -> Page:
    async with pool.connection() as connection:
        rows = await (await connection.execute(LIST, [task, limit])).fetchall()
    return Page(results=[Observation(task=task, **row) for row in rows])
