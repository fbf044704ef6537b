"""Idempotency-Key: one effect, one answer (after the IETF draft of the httpapi working group).

The record is written in the action's own transaction. Its unique key makes a concurrent second request wait for
the first, and a first that fails leaves nothing. It keeps what the action returned, never a copy of the answer.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from memoryhub.core import metrics
from memoryhub.core.db.statements import run
from memoryhub.core.errors import Code, NotAllowed
from memoryhub.core.ids import new_id
from memoryhub.core.models import Idempotency
from memoryhub.core.transactions import current
from memoryhub.core.work import stoppable


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request that may be repeated: whose, its key, and what it asked."""

    credential: UUID
    key: str
    fingerprint: bytes

    @classmethod
    def of(cls, credential: UUID, key: str, method: str, path: str, body: bytes) -> "Repeatable":
        fingerprint = hashlib.sha256(f"{method}\n{path}\n".encode())
        fingerprint.update(body)  # not joined: a body may have 64 MiB
        return cls(credential, key, fingerprint.digest())


def replay(request: Repeatable) -> Any | None:
    """What the first request with this key returned; None when this is the first, which must call remember().

    Waits for a first one that is still at work. Raises NotAllowed (422) when the key was used for another request.
    """
    with stoppable():
        is_first = run(
            "insert into idempotency (id, credential, key, fingerprint) values (%s, %s, %s, %s)"
            " on conflict (credential, key) do nothing returning id",
            [new_id(), request.credential, request.key, request.fingerprint],
        )
    return None if is_first else recall(request)


def recall(request: Repeatable) -> Any | None:
    """What a finished request with this key returned; None when there is none. Raises NotAllowed (422) as replay()."""
    record = Idempotency.objects.filter(credential=request.credential, key=request.key).first()
    if record is None:
        return None
    if bytes(record.fingerprint) != request.fingerprint:
        raise NotAllowed("This Idempotency-Key was used for another request.", code=Code.IDEMPOTENCY_MISMATCH)
    # The first one's answer rests on this event; it is on disk before the replay is answered, too.
    current().depends_on_event = record.event_id
    metrics.REPLAYS.inc()
    return record.result


@contextmanager
def alone(request: Repeatable) -> Iterator[None]:
    """For what takes several transactions: keeps others with this key waiting until the block ends.

    Inside, recall() first, and at the end replay() and remember() in one transaction.
    """
    digest = hashlib.sha256(request.credential.bytes + request.key.encode()).digest()
    lock = [int.from_bytes(digest[:8], signed=True)]
    with stoppable():
        run("select pg_advisory_lock(%s::bigint)", lock)
    try:
        yield
    finally:
        run("select pg_advisory_unlock(%s::bigint)", lock)


def remember(request: Repeatable, result: Any) -> None:
    """Keep what the action returned (status and ids) for 24 hours."""
    events = current().events
    Idempotency.objects.filter(credential=request.credential, key=request.key).update(
        result=result, event_id=events[-1]["id"] if events else None
    )
