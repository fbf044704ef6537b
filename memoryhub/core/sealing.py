"""Confidential content at rest: AES-256-GCM under a team's data key, which a master key wraps (envelope).

A sealed value is `version byte | data key id (4) | nonce (12) | ciphertext and tag`. Its associated data names
table, row, team, label and row version, so that a value copied to another row, or a row whose label was changed
under it, does not open. Nonces are random: a data key should be rotated before 2^32 values (NIST SP 800-38D).
"""

import os
import time
from typing import Any, Protocol, overload
from uuid import UUID

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from memoryhub.core.errors import Unavailable
from memoryhub.core.ids import new_id
from memoryhub.core.labels import LabelRef, label_by_id
from memoryhub.core.models import AccessLog, Labelled, TeamKey
from memoryhub.core.transactions import current

log = structlog.get_logger(__name__)

_FORMAT = 1
_KEY_SECONDS = 30  # how long a process trusts its copy of which data key is the team's current one
_keys: dict[int, AESGCM] = {}
_current: dict[int, tuple[int, float]] = {}


def make_team_key(team: int) -> TeamKey:
    """A new data key for the team, wrapped by the current master key. It seals from now on."""
    master, key = next(iter(settings.MASTER_KEYS.items()))
    nonce = os.urandom(12)
    wrapped = nonce + AESGCM(key).encrypt(nonce, AESGCM.generate_key(256), f"team_key|{team}|{master}".encode())
    _current.pop(team, None)
    return TeamKey.objects.create(team_id=team, master=master, wrapped=wrapped)


def unwrap(row: TeamKey) -> bytes:
    """A data key itself. Raises InvalidTag, or KeyError where MASTER_KEY does not hold the master key."""
    wrapped = bytes(row.wrapped)
    master = AESGCM(settings.MASTER_KEYS[row.master])
    return master.decrypt(wrapped[:12], wrapped[12:], f"team_key|{row.team_id}|{row.master}".encode())


def _open_key(row: TeamKey) -> AESGCM:
    return _keys.setdefault(row.id, AESGCM(unwrap(row)))


def find_lost_master_keys() -> list[str]:
    """The ids of the master keys that wrapped a team's data key and that MASTER_KEY does not hold (any more)."""
    lost = []
    for row in TeamKey.objects.order_by("master", "-id").distinct("master"):
        try:
            _open_key(row)
        except (InvalidTag, KeyError):
            lost.append(row.master)
    return lost


def _current_key(team: int) -> tuple[int, AESGCM]:
    key_id, until = _current.get(team, (0, 0.0))
    if until < time.monotonic():
        row = TeamKey.objects.filter(team_id=team).latest("id")
        try:
            _open_key(row)
        except (InvalidTag, KeyError):
            log.error("data_key_does_not_open", team=team, master=row.master)
            raise Unavailable("What is confidential cannot be sealed now.", retry_after=60) from None
        key_id = row.id
        _current[team] = (key_id, time.monotonic() + _KEY_SECONDS)
    return key_id, _keys[key_id]


def _associated(table: str, row_id: UUID, team: int, label: int, version: int) -> bytes:
    return f"{table}|{row_id}|{team}|{label}|{version}".encode()


def text_columns(table: str, row_id: UUID, label: LabelRef, text: dict[str, Any], version: int = 1) -> dict[str, Any]:
    """`body` and `sealed` for a row's free text: exactly one is filled, by the label."""
    if not label.is_sealed:
        return {"body": text, "sealed": None}
    key_id, key = _current_key(label.team)
    nonce = os.urandom(12)
    sealed = key.encrypt(nonce, msgspec.json.encode(text), _associated(table, row_id, label.team, label.id, version))
    return {"body": None, "sealed": bytes([_FORMAT]) + key_id.to_bytes(4) + nonce + sealed}


UNAVAILABLE = {"unavailable": True}


class Texted(Protocol):
    """A row, or the columns of one, with its free text."""

    @property
    def id(self) -> UUID: ...
    @property
    def label_id(self) -> int: ...
    @property
    def body(self) -> Any: ...
    @property
    def sealed(self) -> Any: ...


@overload
def read_text(row: Labelled) -> dict[str, Any]: ...
@overload
def read_text(row: Texted, table: str) -> dict[str, Any]: ...
def read_text(row: Texted, table: str | None = None) -> dict[str, Any]:
    """A row's free text (`table`: where it is not a model's instance). Opening a sealed one is recorded.

    What does not open (moved, relabelled or damaged, or its key erased) is answered as UNAVAILABLE and logged.
    """
    if row.sealed is None:
        # Raw statements get jsonb as text, since Django turns psycopg's own decoding off.
        found: dict[str, Any] = msgspec.json.decode(row.body) if isinstance(row.body, str) else row.body
        return found
    table = table or row._meta.db_table  # type: ignore[attr-defined]
    assert table is not None
    record_read(table, row.id, row.label_id, "confidential")
    return unseal(table, row.id, row.label_id, bytes(row.sealed), getattr(row, "text_version", 1))


def unseal(table: str, row_id: UUID, label_id: int, sealed: bytes, version: int) -> dict[str, Any]:
    """Open a sealed value without recording it. Use read_text; this is for the work on keys."""
    key_id = int.from_bytes(sealed[1:5])
    try:
        if sealed[0] != _FORMAT:
            raise ValueError("this is no format of ours")
        key = _keys.get(key_id) or _open_key(TeamKey.objects.get(id=key_id))
        team = label_by_id(label_id).team
        plain = key.decrypt(sealed[5:17], sealed[17:], _associated(table, row_id, team, label_id, version))
    except (InvalidTag, TeamKey.DoesNotExist, LookupError, ValueError) as error:  # the last two: cut short, or foreign
        log.error("sealed_content_unavailable", table=table, row=str(row_id), error=type(error).__name__)
        return dict(UNAVAILABLE)
    opened: dict[str, Any] = msgspec.json.decode(plain)
    return opened


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
