"""What confidential rows are found by: keyed hashes of their words, from which nobody without the key can tell a word.

An equal word gives an equal hash in all of a team's rows: that equality is what the database shows (docs/security.md).
"""

import hmac
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag

from memoryhub.core import lives
from memoryhub.core.models import TeamKey
from memoryhub.core.sealing import unwrap

_keys: dict[int, bytes] = {}
lives.forgets(_keys.clear)


def blind(team: int, words: Iterable[str]) -> list[int] | None:
    """HMAC-SHA256 (RFC 2104) of each word, cut to a signed 64-bit number; None when the team's key does not open.

    The key is derived from the team's first data key, so that one that is added later leaves the index as it is.
    """
    key = _keys.get(team) or _derive(team)
    if key is None:
        return None
    return [int.from_bytes(hmac.digest(key, word.encode(), "sha256")[:8], signed=True) for word in words]


def _derive(team: int) -> bytes | None:
    row = TeamKey.objects.filter(team_id=team).order_by("id").first()
    if row is None:
        return None
    try:
        return _keys.setdefault(team, hmac.digest(unwrap(row), b"memoryhub blind index", "sha256"))
    except (InvalidTag, KeyError):
        return None
