"""P7 and P8: search in a large memory, under row-level security; against the same without it, LIKE, and ranking all.

Rare, medium and very common words (0.08 %, 1 % and 86 % of the rows), and a query of several. The long run has
1,000,000 rows, the short one 50,000, where row-level security costs the same but a scan has little to read.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg

from bench.measure import Length, Line, Result, compare, interleave
from bench.search_corpus import COMMON, MEDIUM, RARE, make
from bench.searcher import Searcher
from bench.stack import Stack

QUERIES = {"rare": RARE, "medium": MEDIUM, "very common": COMMON, "question": f"{COMMON} {MEDIUM} {RARE} word0020"}
LIKE = "select id, body from observation where body::text like %(like)s order by importance desc limit 10"
RANK_ALL = """
select o.id, o.body from observation o join (
  select id from bench_plain where words @@ %(word)s::tsquery order by ts_rank(words, %(word)s::tsquery) desc limit 10
) p using (id)
"""


def measure(stack: Stack, length: Length) -> Result:
    """Goals: at most 1.5 times the time without row-level security; 300 times as fast as LIKE, 100 times as ranking
    all.
    """
    rows = 1_000_000 if length.is_long else 50_000
    database = stack.database("p7")
    begun = time.monotonic()
    corpus = make(stack, database, rows)
    seconds = time.monotonic() - begun
    ours = Searcher(database, corpus, url=database.app_url)
    exempt = Searcher(database, corpus, url=database.owner_url)
    times = 20
    contenders: dict[str, Callable[[], float]] = {}
    for name, query in QUERIES.items():
        contenders[name] = partial(ours.median, query, times)
        contenders[f"{name}, no RLS"] = partial(exempt.median, query, times)
    for warm in contenders.values():
        warm()
    rounds = interleave(length, contenders)
    ours.end()
    exempt.end()
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        slow: dict[str, Callable[[], float]] = {
            name: partial(_timed, connection, LIKE, {"like": f"%{query}%"}) for name, query in list(QUERIES.items())[:3]
        }
        slow["rank all"] = partial(_timed, connection, RANK_ALL, {"word": COMMON})
        for warm in slow.values():
            warm()
        # Few rounds: each takes seconds at the full size, and the ratios are in the hundreds.
        found = interleave(Length(rounds=3, seconds=0, is_long=False), slow)
        sizes = connection.execute(
            "select relname, pg_total_relation_size(oid) from pg_class where relname like 'search!_%' escape '!'"
        ).fetchall()
    lines = [
        compare(rounds, name, f"{name}, no RLS", target="P7", what=f"search {rows:,}, {name}, against no RLS",
                unit="ms", goal=1.5, at_least=False)
        for name in QUERIES
    ]  # fmt: skip
    lines += [_faster(rounds[name], found[name], f"{name}, against LIKE", 300, length) for name in list(QUERIES)[:3]]
    lines.append(_faster(rounds["very common"], found["rank all"], "very common, against ranking all", 100, length))
    facts: dict[str, Any] = {"rows": rows, "seconds_to_make": seconds, "bytes": dict(sizes), "baselines": found}
    return Result("p7", lines, rounds=dict(rounds), facts=facts)


def _timed(connection: psycopg.Connection[Any], statement: str, params: dict[str, str]) -> float:
    begun = time.perf_counter()
    connection.execute(statement, params, prepare=False).fetchall()
    return 1000 * (time.perf_counter() - begun)


def _faster(ours: list[float], theirs: list[float], what: str, goal: float, length: Length) -> Line:
    """The speed-up: the ratio of the medians. The goal applies to the full size only."""
    mine, other = sorted(ours)[len(ours) // 2], sorted(theirs)[len(theirs) // 2]
    return Line("P8", f"search, {what}", mine, other, "ms", other / mine, goal if length.is_long else None)
