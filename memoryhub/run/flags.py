"""Flags of the environment, for code that has no settings yet. No Django here."""

import os

MIN_SECRET = 40  # characters of a secret
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def read_flag(name: str, default: bool) -> bool:
    """1/true/yes/on or 0/false/no/off. Raises ValueError with a sentence."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if text.lower() not in _WORDS:
        raise ValueError(f"{name} must be 1 or 0, not {text!r}.")
    return _WORDS[text.lower()]


def wants_demo() -> bool:
    """Whether there is to be a demo team: as DEMO says, by default only on a private machine. Raises ValueError."""
    is_public = read_flag("HTTPS", False) or bool(os.environ.get("ALLOWED_HOSTS", "").strip())
    return read_flag("DEMO", not is_public)
