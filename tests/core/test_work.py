"""Long work gives way to short work of the same process, for a bounded time."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import pytest

from memoryhub.core.work import LONG_SECONDS, MOST_SECONDS, SHORT_SECONDS, ClientLeft, Work, check, doing


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


@contextmanager
def another(seconds: float, *, computes: bool = False) -> Iterator[None]:
    """Another thread has work for so long, and computes for as long as makes it long."""
    begun = threading.Event()

    def run() -> None:
        with doing(Work()):
            if computes:
                compute(2 * LONG_SECONDS)
                check()
            begun.set()
            time.sleep(seconds)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        thread.join()


def paused(beside: AbstractContextManager[None], *, computed: float = 2 * LONG_SECONDS) -> float:
    """How long one look keeps work that has computed for so long; what is beside it begins afterwards."""
    with doing(Work()):
        compute(computed)
        with beside:
            begun = time.monotonic()
            check()
            return time.monotonic() - begun


def test_long_work_waits_until_short_work_is_done() -> None:
    assert paused(another(SHORT_SECONDS / 2)) > SHORT_SECONDS / 4


def test_nobody_else_waits() -> None:
    assert paused(nullcontext()) < SHORT_SECONDS / 4, "it is alone"
    assert paused(another(SHORT_SECONDS / 2), computed=0) < SHORT_SECONDS / 4, "it is short itself"
    assert paused(another(SHORT_SECONDS / 2, computes=True)) < SHORT_SECONDS / 4, "both are long"


def test_what_only_waits_is_waited_for_no_longer() -> None:
    assert paused(another(4 * SHORT_SECONDS)) < 2 * SHORT_SECONDS


def test_all_its_pauses_have_a_bound() -> None:
    ends = threading.Event()

    def often() -> None:
        while not ends.is_set():
            with doing(Work()):
                time.sleep(0.01)

    busy = [threading.Thread(target=often) for _ in range(3)]
    for thread in busy:
        thread.start()
    try:
        with doing(Work()):
            compute(2 * LONG_SECONDS)
            begun = time.monotonic()
            for _ in range(1_000):
                check()
            assert MOST_SECONDS / 2 < time.monotonic() - begun < 4 * MOST_SECONDS
    finally:
        ends.set()
        for thread in busy:
            thread.join()


def test_who_leaves_meanwhile_is_waited_for_no_longer() -> None:
    with doing(work := Work()):
        compute(2 * LONG_SECONDS)
        with another(SHORT_SECONDS):
            threading.Timer(0.01, work.leave).start()
            begun = time.monotonic()
            with pytest.raises(ClientLeft):
                check()
            assert time.monotonic() - begun < SHORT_SECONDS
