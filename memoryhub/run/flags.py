"""The environment, and the files that `make run` keeps of it, for code that has no settings yet. No Django here."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OWNER_URL = "DATABASE_OWNER_URL"
MIN_SECRET = 40  # characters of a secret
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def data_folder() -> Path:
    """Where this installation keeps its files: MEMORYHUB_DATA, by default `.data`."""
    return Path(os.environ.get("MEMORYHUB_DATA") or ROOT / ".data").resolve()


def read_file(path: Path) -> dict[str, str]:
    """The variables of a file of `NAME=value` lines; none where there is no file."""
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


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
