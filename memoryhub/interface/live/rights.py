"""Rights of those who stay connected: asked again each second, since nobody asks for a socket as for a request.

A connection rests on a membership and on a credential. Whoever owns a kind of credential registers how it is checked.
"""

import asyncio
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
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
    def credential(self) -> tuple[str, Any]:
        """What was shown at the door, by which the right can be taken away: its kind and its id."""
        return ("key", self.viewer.credential) if self.session is None else ("session", self.session)


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

Check = Callable[[list[Any]], Mapping[Any, frozenset[str] | None]]
_checks: dict[str, Check] = {}


def register(kind: str, check: Check) -> None:
    """Say how credentials of a kind are checked: once, when their owner's app is ready.

    `check`: of their ids, those that are good now, with the scopes that each gives (None: it limits nothing). It takes
    one query at most, however many they are, and runs each second. Raises ValueError for a kind that has another check.
    """
    if _checks.setdefault(kind, check) is not check:
        raise ValueError(f"the kind {kind} has a check already")


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


def revoked_among(held: Iterable[Rights]) -> set[Rights]:
    """Those that no longer hold. A query for the memberships and one a kind of credential, however many are asked.

    A kind that nobody has registered does not hold.
    """
    held = set(held)
    members = {row[0]: row[1:] for row in run(_MEMBERS, [list({rights.viewer.membership for rights in held})])}
    shown: dict[str, set[Any]] = defaultdict(set)
    for kind, credential in (rights.credential for rights in held):
        shown[kind].add(credential)
    good = {kind: _checks[kind](list(credentials)) for kind, credentials in shown.items() if kind in _checks}
    return {rights for rights in held if not (_is_member(rights, members) and _opens(rights, good))}


def _is_member(rights: Rights, members: Mapping[UUID, tuple[Any, ...]]) -> bool:
    """Whether the membership is as it was; where the credential is a session, the account's password as well."""
    viewer = rights.viewer
    if viewer.membership not in members:
        return False
    team, role, clearance, compartments, password = members[viewer.membership]
    if (team, role, clearance) != (viewer.team, viewer.role, viewer.clearance):
        return False
    if frozenset(compartments) != viewer.compartments:
        return False
    return rights.session is None or password == rights.password


def _opens(rights: Rights, good: Mapping[str, Mapping[Any, frozenset[str] | None]]) -> bool:
    """Whether the credential gives what it gave."""
    kind, credential = rights.credential
    found = good.get(kind, {})
    return credential in found and found[credential] == rights.viewer.scopes


def _read_sessions(keys: list[str]) -> dict[str, None]:
    """Those of Django's sessions that have not ended. They limit nothing."""
    return {key: None for (key,) in run(_SESSIONS, [keys])}


register("session", _read_sessions)  # which no app of ours has; the interface opens sockets by them
sweeper = Sweeper()
