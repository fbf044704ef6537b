"""P14: the package of an escalation with 10,000 observations as JSON over HTTP, against json_agg of the same rows."""

import json
import time
from collections.abc import Callable

import psycopg

from bench.baselines import serving
from bench.load import Client, encode
from bench.measure import Length, Result, compare, interleave
from bench.seed import Plan, seed
from bench.stack import Stack, free_port

OBSERVATIONS = 10_000
ASK = {"task": "t", "reason_code": "other", "reason": "No rule fits.", "question": "What now?"}
# The same columns of the same rows, as the owner, who is exempt from row-level security: what PostgreSQL alone can do.
BASELINE = """
select json_agg(json_build_object('id', o.id, 'seq', s.seq, 'sensitivity', o.sensitivity, 'author', m.name,
  'created_at', o.created_at, 'task', t.key, 'content', o.body -> 'content', 'tags', o.tags, 'importance', o.importance,
  'private', o.private, 'pinned', o.pinned, 'occurred_at', o.occurred_at, 'expires_at', o.expires_at,
  'client_ref', o.client_ref) order by o.id desc)::text
from observation o join event_seq s on s.event_id = o.event_id join membership m on m.id = o.author_id
     join task t on t.id = o.task_id
where t.key = 't'
"""


def measure(stack: Stack, length: Length) -> Result:
    """Goal: at least half as fast, in pages of the largest size, read one after another by their cursors."""
    database = stack.database("p14")
    seeded = seed(stack, database, Plan(agents=1, tasks={"t": OBSERVATIONS}))
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
        port = free_port()
        server = stack.serve(serving.product(port), database.environment, port)
        client = Client(port)
        status, body, _ = client.send(encode("POST", "/api/v1/escalations", port, seeded.keys[0], ASK))
        if status != 201:
            raise RuntimeError(f"escalating answered {status}: {body[:500]!r}")
        path = f"/api/v1/escalations/{json.loads(body)['id']}/package"
        client.close()
        contenders: dict[str, Callable[[], float]] = {
            f"pages of {limit}": _reading(port, seeded.keys[0], f"{path}?limit={limit}") for limit in LIMITS
        }
        contenders["json_agg"] = _aggregating(connection)
        for warm in contenders.values():
            warm()
        rounds = interleave(length, contenders)
        stack.end(server)
    lines = [
        compare(
            rounds,
            f"pages of {limit}",
            "json_agg",
            target="P14",
            what=f"package of 10,000 observations, {limit} a page",
            unit="packages/s",
            goal=0.5 if limit == max(LIMITS) else None,
        )
        for limit in LIMITS
    ]
    return Result("p14", lines, rounds=dict(rounds))


LIMITS = (100, 10_000)


def _reading(port: int, key: str, first: str) -> Callable[[], float]:
    def read() -> float:
        """Packages per second, without the time for parsing the pages."""
        client = Client(port)  # the server may have closed an earlier one, idle during the others' turns
        begun, found, path = time.perf_counter(), 0, first
        parsing = 0.0
        while path:
            status, body, _ = client.send(encode("GET", path, port, key))
            if status != 200:
                raise RuntimeError(f"the package answered {status}: {body[:500]!r}")
            # Parsing the page is the reader's work, and of json_agg's reader, too.
            parse = time.perf_counter()
            page = json.loads(body)
            found += len(page["full_context"]["observations"])
            path = page["next"]
            parsing += time.perf_counter() - parse
        taken = time.perf_counter() - begun - parsing
        client.close()
        if found != OBSERVATIONS:
            raise RuntimeError(f"the package had {found} observations")
        return 1 / taken

    return read


def _aggregating(connection: psycopg.Connection) -> Callable[[], float]:
    def aggregate() -> float:
        begun = time.perf_counter()
        row = connection.execute(BASELINE).fetchone()
        taken = time.perf_counter() - begun
        if row is None or len(json.loads(row[0])) != OBSERVATIONS:
            raise RuntimeError("json_agg returned other rows")
        return 1 / taken

    return aggregate
