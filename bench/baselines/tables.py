"""The tables of the baselines: what an observation is made of, without labels, row-level security and ledger."""

import hashlib
import uuid

import psycopg

TABLES = """
create table author (id uuid primary key, name text not null unique, digest bytea not null unique);
create table task (id uuid primary key, key text not null unique, title text not null);
create table observation (
    id uuid primary key,
    task_id uuid references task (id),
    author_id uuid not null references author (id),
    content jsonb not null,
    tags text[] not null default '{}',
    importance double precision check (importance between 0 and 1),
    private boolean not null default false,
    pinned boolean not null default false,
    occurred_at timestamptz,
    expires_at timestamptz,
    client_ref text,
    created_at timestamptz not null default now(),
    unique (author_id, client_ref)
);
create index on observation (task_id, id desc);
"""
KEY = "a-key-of-the-baseline"
AUTHOR = uuid.UUID("00000000-0000-7000-8000-00000000000a")


def make(url: str, tasks: list[str]) -> None:
    """Make the tables with one author, who has KEY, and these tasks."""
    with psycopg.connect(url) as connection:
        connection.execute(TABLES)
        digest = hashlib.sha256(KEY.encode()).digest()
        connection.execute("insert into author values (%s, 'bench', %s)", [AUTHOR, digest])
        with connection.cursor() as cursor:
            cursor.executemany("insert into task values (%s, %s, %s)", [(uuid.uuid4(), key, key) for key in tasks])
