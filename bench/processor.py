"""The processor's time that each part of the stack takes, which a busy machine disturbs less than a rate."""

import psutil

from bench.stack import Stack

WEB, POSTGRES = "the web process", "PostgreSQL"


def spent(stack: Stack, server: int) -> dict[str, float]:
    """Seconds of the processor so far: of the web process with this pid, and of PostgreSQL with all its sessions."""
    postmaster = int((stack.data / "servers" / "postgres" / "postmaster.pid").read_text().split()[0])
    sessions = psutil.Process(postmaster).children()
    return {WEB: _of([psutil.Process(server)]), POSTGRES: _of([psutil.Process(postmaster), *sessions])}


def per_request(before: dict[str, float], after: dict[str, float], requests: float) -> dict[str, float]:
    """Milliseconds for each of so many requests."""
    return {part: 1000 * (after[part] - before[part]) / requests for part in before}


def _of(processes: list[psutil.Process]) -> float:
    found = 0.0
    for process in processes:
        try:
            found += sum(process.cpu_times())  # with those of its sessions that have ended
        except psutil.NoSuchProcess:
            continue
    return found
