"""What confidential rows are found by: keyed hashes of their words, from which nobody without the key can tell a word.

An equal word gives an equal hash in all of a team's rows: that equality is what the database shows (docs/security.md).
"""

import hmac
from collections.abc import Iterable

from memoryhub.core.secrecy.sealing import CLOSED, DataKey, keys_of, unwrap

_derived: dict[int, tuple[DataKey, bytes]] = {}  # by team: of its first data key


def blind(team: int, words: Iterable[str]) -> list[int] | None:
    """HMAC-SHA256 (RFC 2104) of each word, cut to a signed 64-bit number; None when the team's key does not open.

    The key is derived from the team's first data key, so that one that is added later leaves the index as it is.
    """
    key = _derive(team)
    if key is None:
        return None
    return [int.from_bytes(hmac.digest(key, word.encode(), "sha256")[:8], signed=True) for word in words]


def _derive(team: int) -> bytes | None:
    keys = keys_of(team)
    known = _derived.pop(team, None)
    if not keys:
        return None
    if known is None or known[0] != keys[0]:
        try:
            known = keys[0], hmac.digest(unwrap(keys[0]), b"memoryhub blind index", "sha256")
        except CLOSED:
            return None
    _derived[team] = known
    return known[1]
