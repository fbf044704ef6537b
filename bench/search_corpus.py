"""A large memory with its search index, for P7 and P8: made by SQL, in the form that the product's own indexer writes.

It runs in its own process (`python -m bench.search_corpus`, the number of rows on standard input). Words follow Zipf's
law. The terms of 5,000 different texts come from the product's own tokenizer; each row is one of them, with its own
name.
"""

import json
import os
import random
import sys
from dataclasses import dataclass
from math import isqrt
from typing import Any

from bench.stack import PYTHON, Database, Stack

TEXTS, WORDS, VOCABULARY = 5_000, 30, 50_000
COMMON, MEDIUM, RARE = "word0001", "word0250", "word9000"  # in about 86 %, 1 % and 0.08 % of the rows


@dataclass(frozen=True)
class Corpus:
    """The team, and the member who searches."""

    team: int
    member: str


def make(stack: Stack, database: Database, rows: int) -> Corpus:
    """Make a corpus of so many rows."""
    return Corpus(**json.loads(stack.run([PYTHON, "-m", "bench.search_corpus"], database.environment, str(rows))))


def _texts() -> list[str]:
    numbers = random.Random(7)
    return [" ".join(f"word{int(VOCABULARY ** numbers.random()):04d}" for _ in range(WORDS)) for _ in range(TEXTS)]


_ROWS = """
insert into observation
  (id, team_id, label_id, sensitivity, body, author_id, event_id, tags, importance, private, pinned)
select uuidv7(), %(team)s, %(label)s, 1, jsonb_build_object('content', t.text || ' name-' || n),
       %(member)s, %(event)s, '{}', random(), false, false
from generate_series(1, %(rows)s) n join bench_text t on t.id = n %% %(texts)s
"""
# As many cells as the indexer makes of so large a shelf, roughly.
_CELLS = """
insert into search_cell (id, shelf_id, docs, filled, length, first_at, last_at)
select 1 + g, %(shelf)s, docs, docs, 32 * docs, now(), now()
from generate_series(0, (%(rows)s - 1) / %(cell)s) g
cross join lateral (select least(%(cell)s, %(rows)s - g * %(cell)s) as docs) d
"""
_DOCS = """
insert into search_doc (row_id, type, shelf_id, cell_id, number, words, length, importance, created_at)
select o.id, 'observation', %(shelf)s, 1 + o.place / %(cell)s, o.place %% %(cell)s,
       (t.vector || ' ''' || o.name || ''':31')::tsvector, 32, o.importance, o.created_at
from (select id, importance, created_at, substring(body ->> 'content' from 'name-[0-9]+$') as name,
             (row_number() over (order by id) - 1)::int as place
      from observation where team_id = %(team)s) o
join bench_text t on t.id = substr(o.name, 6)::int %% %(texts)s
"""
_POSTINGS = """
insert into search_posting (shelf_id, term, cell_id, entries)
select d.shelf_id, w.lexeme collate "C", d.cell_id, string_agg(
    int2send(d.number::int2) || set_byte('\\x00'::bytea, 0, cardinality(w.positions)) || int2send(d.length::int2),
    ''::bytea order by d.number)
from search_doc d cross join unnest(d.words) w group by d.shelf_id, w.lexeme, d.cell_id
"""
# What PostgreSQL's own search would use, for the baselines.
_PLAIN = """
create table bench_plain as
  select id, importance, to_tsvector('english', body ->> 'content') as words from observation;
create index on bench_plain using gin (words);
"""


def _make(rows: int) -> Corpus:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    import psycopg

    from bench.seed import Plan
    from bench.seed import _make as seed_team  # the team, an agent, and one observation with its event
    from memoryhub.core.models import Membership
    from memoryhub.memory.search import indexer
    from memoryhub.memory.search.terms import quoted, read

    made = seed_team(Plan(agents=1, tasks={"bench": 1}))
    member = Membership.objects.get(id=made.members[0])
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        ((label, event),) = owner.execute("select label_id, event_id from observation").fetchall()
        owner.execute("delete from observation")
        owner.execute("create table bench_text (id int primary key, text text, vector text)")
        vectors = _vectors(made.team, _texts(), read, quoted)
        with owner.cursor().copy("copy bench_text from stdin") as copy:
            for number, (text, vector) in enumerate(vectors):
                copy.write_row([number, text, vector])
        values = {"team": made.team, "label": label, "event": event, "member": member.id, "rows": rows, "texts": TEXTS}
        values["cell"] = max(indexer.CELL, 2 * isqrt(rows))
        owner.execute(_ROWS, values)
        shelf = "insert into search_shelf (team_id, label_id) values (%(team)s, %(label)s) returning id"
        ((values["shelf"],),) = owner.execute(shelf, values).fetchall()
        ((parts,),) = owner.execute("select pg_get_indexdef('search_posting_parts'::regclass)").fetchall()
        owner.execute("drop index search_posting_parts")  # made in bulk, at the end
        owner.execute("set work_mem = '256MB'")
        for statement in (_CELLS, _DOCS, _POSTINGS):
            owner.execute(statement, values)
        for statement in [parts, _PLAIN, "vacuum analyze"]:
            owner.execute(statement)
    return Corpus(made.team, str(member.id))


def _vectors(team: int, texts: list[str], read: Any, quoted: Any) -> list[tuple[str, str]]:
    """The texts' terms as the indexer writes them."""
    from datetime import UTC, datetime
    from uuid import UUID

    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import system_viewer
    from memoryhub.memory.search.terms import Source

    nobody = UUID(int=0)
    sources = [
        Source(nobody, "observation", 0, False, None, None, nobody, [], None, datetime.now(UTC), None, text)
        for text in texts
    ]
    with viewer_transaction(system_viewer(team)):
        docs = read(team, sources)
    made = []
    for doc in docs:
        terms = (f"{quoted(term)}:{','.join(map(str, at))}" for term, at in doc.terms.items() if at)
        made.append((doc.source.text, " ".join(terms)))
    return made


if __name__ == "__main__":
    found = _make(int(sys.stdin.read()))
    sys.stdout.write(json.dumps({"team": found.team, "member": found.member}))
