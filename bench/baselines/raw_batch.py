"""Raw psycopg: multi-row INSERTs of 100 observations in autocommit, on one connection or on several, a thread each.

It runs in its own process (`python -m bench.baselines.raw_batch CONNECTIONS SECONDS`) and prints the batches per
second. No key, no labels, no row-level security, no ledger, no HTTP: the least that a batch costs in Python and
PostgreSQL.
"""

import os
import sys
import threading
import time
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from bench.baselines.tables import AUTHOR
from bench.seed import OBSERVATION

ITEMS = 100
COLUMNS = "id, task_id, author_id, content, tags, importance, private, pinned, occurred_at, expires_at, client_ref"
INSERT = f"insert into observation ({COLUMNS}) values {', '.join(['(' + ', '.join(['%s'] * 11) + ')'] * ITEMS)}"


def batch(task: UUID) -> list[object]:
    """The values of one statement."""
    content, tags, importance = OBSERVATION["content"], OBSERVATION["tags"], OBSERVATION["importance"]
    values: list[object] = []
    for _ in range(ITEMS):
        values += [uuid4(), task, AUTHOR, Jsonb(content), tags, importance, False, False, None, None, None]
    return values


def main(connections: int, seconds: float) -> None:
    """Insert for so many seconds, and print the rate."""
    counts: list[int] = []
    barrier = threading.Barrier(connections)

    def insert(number: int) -> None:
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
            row = connection.execute("select id from task where key = %s", [f"bench-{number}"]).fetchone()
            assert row is not None
            for _ in range(6):  # prepared from the sixth on
                connection.execute(INSERT, batch(row[0]))
            barrier.wait()
            until, count = time.perf_counter() + seconds, 0
            while time.perf_counter() < until:
                connection.execute(INSERT, batch(row[0]))
                count += 1
            counts.append(count)

    running = [threading.Thread(target=insert, args=(number,)) for number in range(connections)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    sys.stdout.write(f"{sum(counts) / seconds if len(counts) == connections else ''}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
