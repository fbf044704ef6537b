"""Rights of those who stay connected: asked again each second, since nobody asks for a socket as for a request."""

import asyncio
import functools
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import structlog

from memoryhub.core.sql import run
from memoryhub.core.threads import in_thread

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0  # a right that is taken away is gone from sockets within two seconds (PROMISES I12)


@dataclass(frozen=True, slots=True)
class Rights:
    """On what a connection rests. `member`: role, clearance, compartments and so on, as they were when it began."""

    membership: UUID
    member: tuple[Any, ...]
    session: str | None = None
    key: UUID | None = None


class Connection(Protocol):
    """Something that must end when its rights do."""

    rights: Rights

    def revoke(self, reason: str) -> None:
        """End it; no frame is sent after."""


_MEMBERS = """
select m.id, m.team_id, m.role, m.clearance, m.compartments, m.is_active, a.is_active, a.password
from membership m join actor a on a.id = m.actor_id where m.id = any (%s::uuid[])
"""
_SESSIONS = """
select session_key from django_session where session_key = any (%s::varchar[]) and expire_date > statement_timestamp()
"""
_KEYS = """
select id from api_key where id = any (%s::uuid[]) and revoked_at is null
  and (expires_at is null or expires_at > statement_timestamp())
"""


def member_state(membership: UUID) -> tuple[Any, ...]:
    """What a connection's rights rest on at this moment."""
    return _state(run(_MEMBERS, [[membership]])[0])


def _state(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(tuple(value) if isinstance(value, list) else value for value in row[1:])


class Sweeper:
    """Closes the connections of this process whose session, key or membership is not what it was."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, connection: Connection) -> None:
        """Watch it from now on."""
        self.connections.add(connection)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="rights")

    def discard(self, connection: Connection) -> None:
        """It has ended."""
        self.connections.discard(connection)

    async def _run(self) -> None:
        while self.connections:
            await asyncio.sleep(SWEEP_SECONDS)
            watched = list(self.connections)
            try:
                gone = await in_thread(functools.partial(_gone, {connection.rights for connection in watched}))
            except Exception as error:
                # Nothing can be read or written either while the database is away.
                log.warning("rights_not_checked", error=type(error).__name__)
                continue
            for connection in watched:
                if connection.rights in gone:
                    connection.revoke("your access has changed")


def _gone(asked: set[Rights]) -> set[Rights]:
    members = {row[0]: _state(row) for row in run(_MEMBERS, [[rights.membership for rights in asked]])}
    sessions = {key for (key,) in run(_SESSIONS, [[rights.session for rights in asked if rights.session]])}
    keys = {key for (key,) in run(_KEYS, [[rights.key for rights in asked if rights.key]])}
    return {
        rights
        for rights in asked
        if members.get(rights.membership) != rights.member
        or (rights.session is not None and rights.session not in sessions)
        or (rights.key is not None and rights.key not in keys)
    }


sweeper = Sweeper()
