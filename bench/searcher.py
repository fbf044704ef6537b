"""A process that searches as the product does: one query per line in, the median time in milliseconds out.

Its login decides whether row-level security applies: to the app role, not to the owner.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from uuid import UUID

from bench.search_corpus import Corpus
from bench.stack import PYTHON, ROOT, Database


class Searcher:
    """The parent's end of the process."""

    def __init__(self, database: Database, corpus: Corpus, *, url: str) -> None:
        self._process = subprocess.Popen(
            [PYTHON, "-m", "bench.searcher", corpus.member],
            cwd=ROOT,
            env={**database.environment, "DATABASE_URL": url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def median(self, query: str, times: int) -> float:
        """The median of `times` searches, in milliseconds; each must find something."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([query, times]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the searcher has ended")
        return float(answer)

    def end(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=10)


def _serve(member: str) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    from memoryhub.core.models import Membership
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import viewer_of
    from memoryhub.memory.search.lookup import SearchFilters
    from memoryhub.memory.search.query import read as read_query
    from memoryhub.memory.search.ranking import find
    from memoryhub.memory.search.results import show

    viewer = viewer_of(Membership.objects.select_related("actor", "team").get(id=UUID(member)))
    for line in sys.stdin:
        query, times = json.loads(line)
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            with viewer_transaction(viewer, read_only=True):
                wanted = read_query(query)
                hits = find(viewer, wanted, SearchFilters(), mode="hybrid", limit=30)
                found = show(viewer, hits, wanted, 10, most_bytes=8 << 20)
            taken.append(time.perf_counter() - begun)
            assert found, query
        sys.stdout.write(f"{1000 * statistics.median(taken)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(sys.argv[1])
