"""From text to terms, in the same way for indexed rows, queries and snippets."""

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from memoryhub.core import work

MAX_TERM = 60  # characters; a longer identifier is found by its parts
# The path of names to a value is cut to its last characters; repeated paths have at most so many times the characters
# of the content's own, and some in any case.
LONGEST_NAMES, MOST_NAMES, FREE_NAMES = 200, 4, 2_000
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_SPACELESS += "\uac00-\ud7af\U00020000-\U0003ffff"
# Letters and digits, with the combining marks that some scripts use for vowels.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0dff"
_LETTER = rf"(?:(?![{_SPACELESS}])(?:[^\W_]|[{_MARKS}]))"
# A run of a script without spaces; or words, joined by single punctuation marks when they are one identifier.
_RUN = re.compile(rf"([{_SPACELESS}]+)|{_LETTER}+(?:[-_./:@+]{_LETTER}+)*")
# The same for ASCII, which most texts are, without a lookahead per character.
_ASCII_RUN = re.compile(r"()[A-Za-z0-9]+(?:[-_./:@+][A-Za-z0-9]+)*")
_PART = re.compile(rf"{_LETTER}+")
_ACCENT = re.compile("[\u0300-\u036f]")


class TermKind(Enum):
    """How a token became a term: a WORD is stemmed, a NAME is not; a WHOLE is an identifier whose parts are tokens as
    well; a GRAM is two characters of a script without spaces (a bigram).
    """

    WORD = "word"
    WHOLE = "whole"
    NAME = "name"
    GRAM = "gram"


_WORD, _NAME = TermKind.WORD, TermKind.NAME  # looking up an enum's member is slow, and is done for each word


class Token(NamedTuple):
    """A term's place in a text: characters `start` to `end`, and its number among the words there."""

    text: str
    kind: TermKind
    start: int
    end: int
    position: int


def normalise(text: str) -> str:
    """The form in which words are compared: compatibility forms (NFKC), case and Latin accents make no difference."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFKD", folded)))


def tokens(text: str) -> Iterator[Token]:
    """The terms of a text. An identifier (`HAT-1234`, `order_id`) gives its whole and, at its position, its parts."""
    position = 0
    is_plain = text.isascii()
    for run in _ASCII_RUN.finditer(text.lower()) if is_plain else _RUN.finditer(text):
        start, end = run.span()
        found = run[0]
        if run[1]:
            for token in _grams(found, start, position):
                position = token.position
                yield token
            position += 1
            continue
        if found.isalnum():
            position += 1
            if is_plain:  # most words; the same as _token() makes of them, at half the cost
                yield Token(found[:MAX_TERM], _WORD if found.isalpha() else _NAME, start, end, position)
            else:
                yield _token(found, start, position)
            continue
        parts = list(_PART.finditer(found))
        if len(parts) > 1 and end - start <= MAX_TERM:
            yield Token(normalise(found)[:MAX_TERM], TermKind.WHOLE, start, end, position + 1)
        for part in parts:
            position += 1
            yield _token(part[0], start + part.start(), position)


def _token(part: str, start: int, position: int) -> Token:
    kind = _WORD if part.isascii() and part.isalpha() else _NAME
    return Token(normalise(part[: 4 * MAX_TERM])[:MAX_TERM], kind, start, start + len(part), position)


def _grams(run: str, start: int, position: int) -> Iterator[Token]:
    # Overlapping bigrams, as is usual for these scripts; a single character is a term by itself.
    for index in range(max(len(run) - 1, 1)):
        gram = run[index : index + 2]
        position += 1
        yield Token(normalise(gram), TermKind.GRAM, start + index, start + index + len(gram), position)


def plain_text(content: Any) -> str:
    """A row's content as one text: its values, one per line, each after the path of names to it.

    The text is linear in the content: beyond a bound on repeated paths, a value has its own name only.
    """
    if isinstance(content, str):
        return content
    lines = _Lines()
    _flatten(content, "", "", lines)
    return "\n".join(lines.made)


class _Lines:
    """The lines so far, with the number of characters of the content's own, and of repeated paths."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self._own = self._repeated = 0

    def add(self, above: str, name: str, text: str) -> None:
        self._own += len(name) + len(text)
        if above and self._repeated + len(above) <= FREE_NAMES + MOST_NAMES * self._own:
            self._repeated += len(above)
            name = f"{above} {name}" if name else above
        self.made.append(f"{name}: {text}" if name else text)


def _flatten(value: Any, above: str, name: str, lines: _Lines) -> None:
    work.check()
    if isinstance(value, dict):
        inner = _beneath(above, name)
        for key, member in value.items():
            _flatten(member, inner, key, lines)
    elif isinstance(value, list):
        if value and not any(isinstance(member, dict | list) for member in value):
            _flatten(", ".join(str(member) for member in value if member is not None), above, name, lines)
            return
        inner = _beneath(above, name)
        for member in value:
            _flatten(member, inner, "", lines)
    elif value is not None and value != "":
        lines.add(above, name, str(value))


def _beneath(above: str, name: str) -> str:
    return f"{above} {name}".strip(" ")[-LONGEST_NAMES:]
