"""What a key is answered that may write rows and not read them: which row it is, its state, and what was just sent."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from agents.models import Scope
from memoryhub.core.access.permissions import has_scope
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.rows import Row

# The scope of a write -> that of the reads of the same rows; each of the others opens both.
READS = {Scope.MEMORY_WRITE.value: Scope.MEMORY_READ.value}

_WHICH = frozenset(("id", "seq", "key", "version", "sensitivity", "compartments", "author", "created_at", "duplicate"))
_STATE = frozenset(("status", "deleted", "private", "pinned", "expires_at", "signal_type", "unavailable"))
_TOLD = _WHICH | _STATE
_EMPTY: Mapping[str, Any] = {"reasoning": "", "tags": [], "based_on": [], "context": {}}
_SENT_AS = {"revoke_reason": "reason", "outcome_note": "note"}


def withhold(viewer: Viewer, scope: str | None, answer: Any, sent: object = None) -> Any:
    """The answer of a write of this scope. In a row everything is empty that the viewer's key may not read and that is
    not as the body `sent` has it; `omitted` names the scope that is missing.
    """
    needed = READS.get(scope or "")
    if needed is None or has_scope(viewer, needed) or not isinstance(answer, Row):
        return answer
    row = {name: _plain(value) for name, value in msgspec.structs.asdict(answer).items() if value is not UNSET}
    made = {
        name: value if name in _TOLD or _was_sent(name, value, sent) else _EMPTY.get(name)
        for name, value in row.items()
    }
    return made if made == row else {**made, "omitted": [needed]}


def _plain(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, Raw) else value


def _was_sent(name: str, value: Any, sent: object) -> bool:
    return bool(value == getattr(sent, _SENT_AS.get(name, name), None))
