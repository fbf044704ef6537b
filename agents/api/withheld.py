"""Responses to keys that may write rows but not read them: the row's identity, its state, and what was just sent."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from agents.models import Scope
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import Row

# The scope of a write -> the scope that reads the same rows; every other scope allows both.
READS = {Scope.MEMORY_WRITE.value: Scope.MEMORY_READ.value}

_WHICH = frozenset(("id", "seq", "key", "version", "sensitivity", "compartments", "author", "created_at", "duplicate"))
_STATE = frozenset(("status", "deleted", "private", "pinned", "expires_at", "signal_type", "unavailable"))
_ALWAYS_SHOWN = _WHICH | _STATE
_EMPTY: Mapping[str, Any] = {"reasoning": "", "tags": [], "based_on": [], "context": {}}
_SENT_AS = {"revoke_reason": "reason", "outcome_note": "note"}


def withhold(viewer: Viewer, scope: str | None, answer: Any, sent: object = None) -> Any:
    """The response to a write of this scope. Members of a row that the key may not read are emptied, unless they equal
    those of the body `sent`; `omitted` then names the missing scope.
    """
    needed = READS.get(scope or "")
    if needed is None or has_scope(viewer, needed) or not isinstance(answer, Row):
        return answer
    row = {name: _plain(value) for name, value in msgspec.structs.asdict(answer).items() if value is not UNSET}
    made = {
        name: value if name in _ALWAYS_SHOWN or _was_sent(name, value, sent) else _EMPTY.get(name)
        for name, value in row.items()
    }
    return made if made == row else {**made, "omitted": [needed]}


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def _was_sent(name: str, value: Any, sent: object) -> bool:
    return bool(value == getattr(sent, _SENT_AS.get(name, name), None))
