"""Compartments and levels as people write them, on the command line and in the admin's forms."""

import re

from memoryhub.core.models import Sensitivity

COMPARTMENT = r"[a-z0-9][a-z0-9_-]{0,39}"
_COMPARTMENT = re.compile(COMPARTMENT, re.ASCII)
MOST_COMPARTMENTS = 20


def read_compartments(text: str) -> list[str]:
    """Words with commas or spaces between, sorted, each once; at most 20. Raises ValueError with a sentence."""
    words = sorted({word for word in re.split(r"[,\s]+", text.strip()) if word})
    if len(words) > MOST_COMPARTMENTS:
        raise ValueError(f"At most {MOST_COMPARTMENTS} compartments.")
    for word in words:
        if not _COMPARTMENT.fullmatch(word):
            raise ValueError(f"A compartment is 1 to 40 of the characters a-z 0-9 _ -, which {word[:60]!r} is not.")
    return words


def read_level(text: str) -> int:
    """The level of the name: public, internal, confidential. Raises ValueError with a sentence."""
    for level in Sensitivity:
        if level.label == text:
            return level.value
    raise ValueError(f"A level is public, internal or confidential, not {text[:60]!r}.")
