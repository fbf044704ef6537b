"""P9: recall at 10 of questions in plain language, on recorded runs.

The runs are not part of the repository: `BENCH_TRAJECTORIES=/path/to/runs.jsonl` (OpenAI's chat format, one run per
line). Each of a customer's turns is a question; its evidence is what was said and found before the customer's next one.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.measure import Length, Line, Result
from bench.seed import Plan, seed
from bench.stack import PYTHON, Stack

PATH = "BENCH_TRAJECTORIES"
FIRST, MOST = 10, 300


@dataclass(frozen=True)
class BenchQuestion:
    """A question, and the numbers of the documents that are its evidence."""

    text: str
    evidence: frozenset[int]


def measure(stack: Stack, length: Length) -> Result:
    """The recall at 10 of three methods; no lines without the file."""
    path = os.environ.get(PATH, "")
    if not Path(path).is_file():
        sys.stdout.write(f"p9: skipped; set {PATH} to a file of recorded runs\n")
        return Result("p9", [])
    database = stack.database("p9")
    seeded = seed(stack, database, Plan(agents=1))
    command = [PYTHON, "-m", "bench.p09_questions", seeded.members[0], path]
    found = json.loads(stack.run(command, database.environment))
    ours, any_word, every = (found[name] for name in ("ours", "any word, ts_rank", "websearch"))
    lines = [
        Line("P9", f"recall at {FIRST}, against any word and ts_rank", ours, any_word, "", ours / any_word, 1.0),
        Line("P9", f"recall at {FIRST}, against websearch", ours, every, "", ours / max(every, 0.001), 1.0),
    ]
    return Result("p9", lines, facts=found)


def read(path: str) -> tuple[list[list[str]], list[BenchQuestion]]:
    """The documents of each run (every turn with words), and the questions; documents are numbered through all runs."""
    runs: list[list[str]] = []
    questions: list[BenchQuestion] = []
    made = 0
    for line in Path(path).read_text().splitlines():
        question, evidence = "", set[int]()
        run: list[str] = []
        for message in json.loads(line)["messages"]:
            text = message.get("content") or ""
            if message["role"] == "user":
                if question and evidence:
                    questions.append(BenchQuestion(question, frozenset(evidence)))
                question, evidence = text, set()
            elif message["role"] in ("assistant", "tool") and text:
                evidence.add(made)
                run.append(text)
                made += 1
        if question and evidence:
            questions.append(BenchQuestion(question, frozenset(evidence)))
        if run:
            runs.append(run)
    return runs, [question for question in questions if len(question.text.split()) >= 5][:MOST]


def _run(member: str, path: str) -> dict[str, Any]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    import psycopg

    from memoryhub.core.models import Membership
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import viewer_of
    from memoryhub.memory.actions import observations, tasks
    from memoryhub.memory.schemas.observations import NewObservation
    from memoryhub.memory.schemas.tasks import NewTask
    from memoryhub.memory.search.indexer import catch_up
    from memoryhub.memory.search.lookup import SearchFilters
    from memoryhub.memory.search.query import read as read_query
    from memoryhub.memory.search.ranking import find

    viewer = viewer_of(Membership.objects.select_related("actor", "team").get(id=member))
    runs, questions = read(path)
    documents = [text for run in runs for text in run]
    numbers: dict[Any, int] = {}
    for number, run in enumerate(runs):
        tasks.create(viewer, item=NewTask(key=f"run-{number}", title=f"Run {number}"))
        items = [NewObservation(task=f"run-{number}", content=_content(text)) for text in run]
        for logged in observations.log_batch(viewer, items=items):
            numbers[logged.id] = len(numbers)  # type: ignore[union-attr]
    begun = time.perf_counter()
    catch_up(viewer.team)
    indexed = len(documents) / (time.perf_counter() - begun)

    def ours(text: str) -> list[int]:
        with viewer_transaction(viewer, read_only=True):
            hits = find(viewer, read_query(text), SearchFilters(), mode="hybrid", limit=FIRST)
        return [numbers[hit.row_id] for hit in hits]

    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("create table bench_plain (id int primary key, words tsvector)")
        with owner.cursor() as cursor:
            cursor.executemany(
                "insert into bench_plain values (%s, to_tsvector('english', %s))", list(enumerate(documents))
            )

        def any_word(text: str) -> list[int]:
            query = "replace(plainto_tsquery('english', %(text)s)::text, '&', '|')::tsquery"
            return _ranked(owner, query, text)

        def websearch(text: str) -> list[int]:
            return _ranked(owner, "websearch_to_tsquery('english', %(text)s)", text)

        ways = {"ours": ours, "any word, ts_rank": any_word, "websearch": websearch}
        recall = {name: _recall(way, questions) for name, way in ways.items()}
    return {**recall, "documents": len(documents), "questions": len(questions), "rows_indexed_a_second": indexed}


def _content(text: str) -> Any:
    """What a tool returned as JSON is logged as JSON, as the import does."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if isinstance(found, dict) and found else text


def _ranked(owner: Any, query: str, text: str) -> list[int]:
    statement = f"""
        select id from bench_plain, (select {query} as q) asked where words @@ q
        order by ts_rank(words, q) desc, id desc limit {FIRST}"""
    return [number for (number,) in owner.execute(statement, {"text": text}).fetchall()]


def _recall(way: Any, questions: list[BenchQuestion]) -> float:
    """The mean recall over the questions, relative to the most that ten hits can hold."""
    shares = [
        len(question.evidence & set(way(question.text))) / min(len(question.evidence), FIRST) for question in questions
    ]
    return sum(shares) / len(shares)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_run(*sys.argv[1:])))
