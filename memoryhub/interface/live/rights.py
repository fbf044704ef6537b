"""Rights of those who stay connected: asked again each second, since nobody asks for a socket as for a request."""

import asyncio
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import structlog

from memoryhub.core.db.statements import run
from memoryhub.core.db.threads import in_thread
from memoryhub.core.viewers import Viewer

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0  # a right that is taken away is gone from sockets within two seconds (PROMISES I12)


@dataclass(frozen=True, slots=True)
class Rights:
    """On what a connection rests. `viewer`: as its door made it, with the key where there is one.

    A person's `session` and `password` (its hash) are what the session itself was checked against.
    """

    viewer: Viewer
    session: str | None = None
    password: str | None = None

    @property
    def key(self) -> UUID | None:
        return self.viewer.credential if self.session is None else None


class Connection(Protocol):
    """Something that must end when its rights do."""

    rights: Rights

    def revoke(self) -> None:
        """End it; no frame is sent after."""


_MEMBERS = """
select m.id, m.team_id, m.role, m.clearance, m.compartments, a.password
from membership m join actor a on a.id = m.actor_id
where m.id = any (%s::uuid[]) and m.is_active and a.is_active
"""
_SESSIONS = """
select session_key from django_session where session_key = any (%s::varchar[]) and expire_date > statement_timestamp()
"""
_KEYS = """
select id, scopes from api_key where id = any (%s::uuid[]) and revoked_at is null
  and (expires_at is null or expires_at > statement_timestamp())
"""


class Sweeper:
    """Ends the connections of this process whose session, key or membership is not what it was."""

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
                gone = await in_thread(
                    functools.partial(revoked_among, {found.rights for found in watched}), first=True
                )
            except Exception as error:
                # Nothing can be read or written either while the database is away.
                log.warning("rights_not_checked", error=type(error).__name__)
                continue
            for connection in watched:
                if connection.rights in gone:
                    connection.revoke()


def revoked_among(asked: Iterable[Rights]) -> set[Rights]:
    """Those that no longer hold. At most three queries, however many are asked."""
    asked = set(asked)
    members = {row[0]: row[1:] for row in _rows(_MEMBERS, {rights.viewer.membership for rights in asked})}
    sessions = {row[0] for row in _rows(_SESSIONS, {rights.session for rights in asked if rights.session})}
    keys = {row[0]: frozenset(row[1]) for row in _rows(_KEYS, {rights.key for rights in asked if rights.key})}
    return {rights for rights in asked if not _holds(rights, members, sessions, keys)}


def _rows(statement: str, ids: set[Any]) -> list[tuple[Any, ...]]:
    return run(statement, [list(ids)]) if ids else []


def _holds(
    rights: Rights, members: dict[UUID, tuple[Any, ...]], sessions: set[str], keys: dict[UUID, frozenset[str]]
) -> bool:
    viewer = rights.viewer
    member = members.get(viewer.membership)
    if member is None:
        return False
    team, role, clearance, compartments, password = member
    if (team, role, clearance) != (viewer.team, viewer.role, viewer.clearance):
        return False
    if frozenset(compartments) != viewer.compartments:
        return False
    if rights.session is not None:
        return rights.session in sessions and password == rights.password
    return rights.key is None or keys.get(rights.key) == viewer.scopes


sweeper = Sweeper()
