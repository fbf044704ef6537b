"""A process that calls an action of the product, in threads: `python -m bench.clock_writer MEMBER log|claim`.

It logs observations, or claims the next free task. A line `threads seconds` on standard input starts a run, which
prints its writes per second.
"""

import os
import sys
import threading
import time
from uuid import UUID

import django

from bench.seed import OBSERVATION


def main(member: UUID, what: str) -> None:
    """Serve runs until standard input ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    django.setup()

    from django.db import connection

    from memoryhub.core.models import Membership
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import viewer_of
    from memoryhub.memory.actions import leases, observations
    from memoryhub.memory.schemas.observations import NewObservation

    viewer = viewer_of(Membership.objects.select_related("actor", "team").get(id=member))
    with viewer_transaction(viewer, read_only=True):
        item = NewObservation(**OBSERVATION, task="bench")

    def act() -> None:
        if what == "log":
            observations.log(viewer, item=item)
        elif leases.claim_next(viewer, ttl_seconds=3600) is None:
            raise RuntimeError("there is no free task left")

    def write(seconds: float, barrier: threading.Barrier, counts: list[int]) -> None:
        act()  # warm-up: connects, caches labels
        barrier.wait()
        until, count = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            act()
            count += 1
        counts.append(count)
        connection.close()

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        threads, seconds = int(line.split()[0]), float(line.split()[1])
        barrier, counts = threading.Barrier(threads), list[int]()
        running = [threading.Thread(target=write, args=(seconds, barrier, counts)) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        sys.stdout.write(f"{sum(counts) / seconds if len(counts) == threads else ''}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(UUID(sys.argv[1]), sys.argv[2])
