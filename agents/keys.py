"""API keys: `mh_<kind>_<base62><crc>`. The checksum detects a mistyped key without a query."""

import hashlib
import re
import secrets
import string
import zlib

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LENGTH = 40  # base62: 238 bits
CRC_LENGTH = 6
PREFIX_LENGTH = 14  # of the key, stored to distinguish keys

_KEY = re.compile(rf"(mh_[a-z]{{1,10}}_[0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CRC_LENGTH}}})", re.ASCII)


def make_key() -> tuple[str, bytes, str]:
    """A new key, its digest and its prefix. The key itself is shown once and never stored."""
    body = "mh_agent_" + "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    key = body + _checksum(body)
    return key, hashlib.sha256(key.encode()).digest(), key[:PREFIX_LENGTH]


def digest_of(key: str) -> bytes | None:
    """The SHA-256 by which a key is found; None for a malformed key."""
    found = _KEY.fullmatch(key)
    if found is None or _checksum(found[1]) != found[2]:
        return None
    return hashlib.sha256(key.encode()).digest()


def _checksum(body: str) -> str:
    value, text = zlib.crc32(body.encode()), ""
    for _ in range(CRC_LENGTH):
        value, rest = divmod(value, len(ALPHABET))
        text = ALPHABET[rest] + text
    return text
