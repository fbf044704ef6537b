"""Confidential content at rest: AES-256-GCM under a team's data key, which a master key wraps (envelope).

A sealed value is `version byte | data key id (4) | nonce (12) | ciphertext and tag`. Its associated data names
table, row, team, label and row version, so that a value copied to another row, or a row whose label was changed
under it, does not open. Nonces are random: a data key should be rotated before 2^32 values (NIST SP 800-38D).
"""

import os
import time
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from memoryhub.core.access.labels import LabelRef, label_by_id
from memoryhub.core.db.statements import queue, run
from memoryhub.core.errors import Unavailable
from memoryhub.core.ids import new_id
from memoryhub.core.models import AccessLog, Labelled, TeamKey
from memoryhub.core.transactions import current

log = structlog.get_logger(__name__)

_FORMAT = 1
# How long a process trusts what it knows of the data keys: one that the owner erases or adds is so, everywhere, within
# two seconds, the slowest query included.
KEY_SECONDS = 1.0
_KEYS = """
select id, team_id, master, wrapped from team_key where team_id = any (%(teams)s::int[]) order by id
"""
# That the key is still there when the row is written: a key that was erased since seals nothing (57HUB, answered 503).
_REQUIRE = "select require_team_key(%(key)s::int)"


class DataKey(NamedTuple):
    """A row of team_key."""

    id: int
    team: int
    master: str
    wrapped: bytes


class _Known(NamedTuple):
    """The data keys of the teams that were asked for, the oldest first, and until when that is good."""

    until: float = 0.0
    teams: dict[int, list[DataKey]] = {}  # noqa: RUF012  (never changed: replaced as a whole, since threads share it)


_known = _Known()
_opened: dict[DataKey, AESGCM] = {}


def make_team_key(team: int) -> TeamKey:
    """A new data key for the team, wrapped by the current master key. It seals from now on, elsewhere within 2 s."""
    master, key = next(iter(settings.MASTER_KEYS.items()))
    made = TeamKey.objects.create(
        team_id=team, master=master, wrapped=wrap(AESGCM.generate_key(256), team, master, key)
    )
    forget_keys()
    return made


def wrap(data_key: bytes, team: int, master: str, key: bytes) -> bytes:
    """A data key as it is kept: sealed by the master key of this id, for this team."""
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, data_key, f"team_key|{team}|{master}".encode())


def unwrap(row: DataKey) -> bytes:
    """A data key itself. Raises InvalidTag or ValueError, or KeyError where MASTER_KEY does not hold the master key."""
    master = AESGCM(settings.MASTER_KEYS[row.master])
    return master.decrypt(row.wrapped[:12], row.wrapped[12:], f"team_key|{row.team}|{row.master}".encode())


CLOSED = (InvalidTag, KeyError, ValueError)  # what a data key that does not open raises


def keys_of(team: int) -> list[DataKey]:
    """The team's data keys, the oldest first, as they were within the last second."""
    global _known
    known, asked_at = _known, time.monotonic()
    is_fresh = asked_at < known.until
    if is_fresh and team in known.teams:
        return known.teams[team]
    teams: dict[int, list[DataKey]] = {asked: [] for asked in ({team} if is_fresh else {*known.teams, team})}
    for key_id, of_team, master, wrapped in run(_KEYS, {"teams": list(teams)}):
        teams[of_team].append(DataKey(key_id, of_team, master, bytes(wrapped)))
    if is_fresh:
        _known = _Known(known.until, {**known.teams, **teams})
    else:
        _known = _Known(asked_at + KEY_SECONDS, teams)
        for gone in _opened.keys() - {key for keys in teams.values() for key in keys}:
            _opened.pop(gone, None)
    return teams[team]


def forget_keys() -> None:
    """Ask anew before the next use."""
    global _known
    _known = _Known()


def _open(key: DataKey) -> AESGCM:
    found = _opened.get(key)
    return found if found is not None else _opened.setdefault(key, AESGCM(unwrap(key)))


def find_lost_master_keys() -> list[str]:
    """The ids of the master keys that wrapped a team's data key and that MASTER_KEY does not hold (any more)."""
    lost = []
    for row in TeamKey.objects.order_by("master", "-id").distinct("master"):
        try:
            unwrap(DataKey(row.id, row.team_id, row.master, bytes(row.wrapped)))
        except CLOSED:
            lost.append(row.master)
    return lost


def _current_key(team: int) -> tuple[int, AESGCM]:
    """The newest, which seals. Raises Unavailable where there is none, or it does not open."""
    keys = keys_of(team)
    try:
        return keys[-1].id, _open(keys[-1])
    except (IndexError, *CLOSED) as error:
        log.error("data_key_does_not_open", team=team, keys=len(keys), error=type(error).__name__)
        raise Unavailable("What is confidential cannot be sealed now.", retry_after=60) from None


def _associated(table: str, row_id: UUID, team: int, label: int, version: int) -> bytes:
    return f"{table}|{row_id}|{team}|{label}|{version}".encode()


def text_columns(table: str, row_id: UUID, label: LabelRef, text: dict[str, Any], version: int = 1) -> dict[str, Any]:
    """`body` and `sealed` for a row's free text: exactly one is filled, by the label.

    Raises Unavailable where the team has no data key that opens; the transaction fails where it is erased meanwhile.
    """
    if not label.is_sealed:
        return {"body": text, "sealed": None}
    key_id, key = _current_key(label.team)
    transaction = current()
    if key_id not in transaction.sealed_by:
        transaction.sealed_by.add(key_id)
        queue(_REQUIRE, {"key": key_id})
    nonce = os.urandom(12)
    sealed = key.encrypt(nonce, msgspec.json.encode(text), _associated(table, row_id, label.team, label.id, version))
    return {"body": None, "sealed": bytes([_FORMAT]) + key_id.to_bytes(4) + nonce + sealed}


UNAVAILABLE = {"unavailable": True}


def read_text(row: Labelled) -> dict[str, Any]:
    """A row's free text. Opening a sealed one is recorded.

    What does not open (moved, relabelled or damaged, or its key erased) is answered as UNAVAILABLE and logged.
    """
    if row.sealed is None:
        return cast(dict[str, Any], row.body)
    plain = open_text(row._meta.db_table, row.id, row.label_id, bytes(row.sealed), row.text_version)
    return dict(UNAVAILABLE) if plain is None else cast(dict[str, Any], msgspec.json.decode(plain))


def open_text(table: str, row_id: UUID, label_id: int, sealed: bytes, version: int) -> bytes | None:
    """A row's sealed text as JSON, of which the reading is recorded; None where it does not open, which is logged."""
    record_read(table, row_id, label_id, "confidential")
    return _decrypt(table, row_id, label_id, sealed, version)


def unseal(table: str, row_id: UUID, label_id: int, sealed: bytes, version: int) -> dict[str, Any]:
    """As read_text() of a sealed row, without recording it: for comparing rows, and for the work on keys."""
    plain = _decrypt(table, row_id, label_id, sealed, version)
    found: dict[str, Any] = dict(UNAVAILABLE) if plain is None else msgspec.json.decode(plain)
    return found


def _decrypt(table: str, row_id: UUID, label_id: int, sealed: bytes, version: int) -> bytes | None:
    key_id = int.from_bytes(sealed[1:5])
    try:
        if sealed[0] != _FORMAT:
            raise ValueError("this is no format of ours")
        team = label_by_id(label_id).team
        key = next(key for key in keys_of(team) if key.id == key_id)
        plain = _open(key).decrypt(sealed[5:17], sealed[17:], _associated(table, row_id, team, label_id, version))
    except (InvalidTag, StopIteration, LookupError, ValueError) as error:  # no such key; cut short, or foreign
        log.error("sealed_content_unavailable", table=table, row=str(row_id), error=type(error).__name__)
        return None
    return plain


def record_read(table: str, row_id: UUID, label_id: int, reason: str) -> None:
    """Add a reading to the access log, once a transaction and row; the system's own work is not a reading."""
    transaction = current()
    viewer = transaction.viewer
    if viewer.is_system:
        return
    transaction.reads.setdefault(
        (row_id, reason),
        AccessLog(
            id=new_id(),
            team_id=viewer.team,
            label_id=label_id,
            reader_id=viewer.membership,
            row_type=table,
            row_id=row_id,
            reason=reason,
        ),
    )
