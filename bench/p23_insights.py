"""P23: insights of twelve weeks over HTTP, rolled up, against the same computed from the ledger.

The long run has 1,000,000 events, all of the kinds that are counted; the short one 30,000. Also what it costs when the
roll-up is behind, and when the period begins and ends within a week.
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

import psycopg

from bench.baselines import serving
from bench.load import Client, encode
from bench.measure import Length, Line, Result, compare, interleave
from bench.stack import PYTHON, Stack, free_port
from bench.work_history import make

SECOND = 1_000.0  # in milliseconds
GROUPS = ("by=week", "by=agent", "by=agent,week")
BEHIND = 10_000  # events


def measure(stack: Stack, length: Length) -> Result:
    """Goal: the answer within one second. Both ways must answer the same."""
    events = 1_000_000 if length.is_long else 30_000
    database = stack.database("p23")
    work = make(stack, database, events)
    begun = time.monotonic()
    stack.run([PYTHON, "manage.py", "rebuild_insights", "--team", "bench"], database.environment)
    seconds = time.monotonic() - begun
    port = free_port()
    server = stack.serve(serving.product(port), database.environment, port)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
        asking = _Asking(connection, Client(port), port, work.team)
        contenders: dict[str, Callable[[], float]] = {}
        for by in GROUPS:
            contenders[by] = partial(asking.ask, work.key, by)
            contenders[f"{by}, directly"] = partial(asking.ask, work.key, by, cursor=0)
        contenders["low"] = partial(asking.ask, work.low_key, "by=week")
        contenders["low, directly"] = partial(asking.ask, work.low_key, "by=week", cursor=0)
        contenders["behind"] = partial(asking.ask, work.key, "by=week", cursor=asking.head - BEHIND)
        contenders["cut"] = partial(asking.ask, work.key, f"by=week&{_cut()}")
        for warm in contenders.values():
            warm()
        rounds = interleave(length, contenders)
        sizes = connection.execute(
            "select relname, pg_total_relation_size(oid) from pg_class where relname in"
            " ('event', 'insight_tally', 'insight_entry')"
        ).fetchall()
    stack.end(server)
    what = f"insights of 12 weeks, {events:,} events, {{}}, against {{}}"
    lines = [_against_second(rounds, by, what.format(by, "a second"), goal=1.0) for by in GROUPS]
    for name in (*GROUPS, "low"):
        said = what.format("by=week, half of it seen" if name == "low" else name, "the ledger alone")
        lines.append(compare(rounds, name, f"{name}, directly", target="P23", what=said, unit="ms", goal=None))
    for name, said in (("behind", f"{BEHIND:,} events behind"), ("cut", "beginning and ending on a Thursday")):
        lines.append(_against_second(rounds, name, what.format(f"by=week, {said}", "a second"), goal=None))
    facts = {"roll_up_seconds": round(seconds, 1), "bytes": dict(sizes), "directly_is_equal": asking.is_equal}
    return Result("p23", lines, rounds=dict(rounds), facts=facts)


def _cut() -> str:
    """Twelve weeks that begin and end in the middle of one."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = today - timedelta(days=(today.weekday() - 3) % 7)  # a Thursday
    return f"from={quote((last - timedelta(weeks=11)).isoformat())}&to={quote(last.isoformat())}"


def _against_second(rounds: dict[str, list[float]], name: str, what: str, *, goal: float | None) -> Line:
    median = statistics.median(rounds[name])
    return Line("P23", what, median, SECOND, unit="ms", ratio=median / SECOND, goal=goal, at_least=False)


class _Asking:
    """Requests with the roll-up's cursor where it is to be; answers are compared with those of before."""

    def __init__(self, connection: psycopg.Connection, client: Client, port: int, team: int) -> None:
        self._connection, self._client, self._port, self._team = connection, client, port, team
        ((self.head,),) = connection.execute("select seq from insight_state where team_id = %s", [team]).fetchall()
        self._known: dict[tuple[str, str], object] = {}
        self.is_equal = True
        self._to = quote(datetime.now(UTC).isoformat())

    def ask(self, key: str, query: str, *, cursor: int | None = None) -> float:
        """The milliseconds of one request. `cursor`: as if no more were rolled up; without it all is."""
        at = self.head if cursor is None else cursor
        self._connection.execute("update insight_state set seq = %s where team_id = %s", [at, self._team])
        path = f"/api/v1/insights?{query}" if "to=" in query else f"/api/v1/insights?{query}&to={self._to}"
        status, body, seconds = self._client.send(encode("GET", path, self._port, key))
        if status != 200:
            raise RuntimeError(f"insights answered {status}: {body[:500]!r}")
        found = json.loads(body)["results"]
        self.is_equal = self.is_equal and self._known.setdefault((key, query), found) == found
        return 1000 * seconds
