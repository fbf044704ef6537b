"""From text to terms, in the same way for indexed rows, queries and snippets."""

import re
import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from memoryhub.core import work
from memoryhub.core.readable import readable

MAX_TERM = 60  # characters; a longer identifier is found by its parts
# The path of names to a value is cut to its last characters; repeated paths have at most so many times the characters
# of the content's own, and some in any case.
LONGEST_NAMES, MOST_NAMES, FREE_NAMES = 200, 4, 2_000
# Scripts that are written without spaces: South-East Asian ones, Yi, Chinese, Japanese, Korean.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1980-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u3040-\u33ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua000-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
MAX_RUN = 1_000  # characters of such a script that are tokenised at a time
# Letters and digits, with the combining marks that some scripts use for vowels, and Tibetan for letters below others.
_MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0dff\u0f71-\u0f84\u0f8d-\u0fbc"
_LETTER = rf"(?:(?![{_SPACELESS}])(?:[^\W_]|[{_MARKS}]))"
# A run of a script without spaces; or words, joined by single punctuation marks when they are one identifier.
_RUN = re.compile(rf"([{_SPACELESS}]+)|{_LETTER}+(?:[-_./:@+&]{_LETTER}+)*")
# The same for ASCII, which most texts are, without a lookahead per character.
_ASCII_RUN = re.compile(r"[A-Za-z0-9]+(?:[-_./:@+&][A-Za-z0-9]+)*")
_PART = re.compile(rf"{_LETTER}+")
_SPACED = re.compile(rf"[^{_SPACELESS}]")
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
    """The form in which words are compared: what readers do not see (readable.py), compatibility forms (NFKC), case and
    Latin accents make no difference.
    """
    return _fold(readable(text).text)


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFKD", folded)))


def tokens(text: str) -> Iterator[Token]:
    """The terms of a text. An identifier (`HAT-1234`, `order_id`) gives its whole and, at its position, its parts."""
    shown = readable(text)
    position = 0
    for start, run in _runs(shown.text):
        last = position
        for token in _tokens_of(run):
            last = position + token.position
            if not token.text:
                continue  # marks alone
            span = shown.span(start + token.start, start + token.end)
            yield Token(token.text, token.kind, *span, last)
        position = last


def runs(text: str) -> list[str]:
    """The pieces of a text that are tokenised by themselves: its tokens are those of each, one after the other."""
    if text.isascii():
        found = _ASCII_RUN.findall(text.lower())
        if max(map(len, found), default=0) <= MAX_TERM:
            return found
    return [run for _, run in _runs(readable(text).text)]


def _runs(text: str) -> Iterator[tuple[int, str]]:
    """Each run with its start. A long one is cut: where it has no spaces, with the character that both sides pair."""
    for found in (_ASCII_RUN if text.isascii() else _RUN).finditer(text):
        start, run = found.start(), found[0]
        if len(run) <= MAX_TERM:
            yield start, run
        elif found.lastindex:
            for at in range(0, len(run) - 1, MAX_RUN):
                yield start + at, run[at : at + MAX_RUN + 1]
        else:
            for part in _PART.finditer(run):
                yield start + part.start(), part[0]


def _tokens_of(run: str) -> Iterator[Token]:
    """The tokens of a run: places in it, and positions from 1."""
    if _SPACED.match(run) is None:
        # Overlapping bigrams, as is usual for these scripts; a single character is a term by itself.
        for index in range(max(len(run) - 1, 1)):
            gram = run[index : index + 2]
            yield Token(_fold(gram), TermKind.GRAM, index, index + len(gram), index + 1)
    elif run.isalnum():
        yield _token(run, 0, 1)
    else:
        parts = list(_PART.finditer(run))
        if len(parts) > 1:
            yield Token(_fold(run)[:MAX_TERM], TermKind.WHOLE, 0, len(run), 1)
        for number, part in enumerate(parts, start=1):
            yield _token(part[0], part.start(), number)


def _token(part: str, start: int, position: int) -> Token:
    kind = _WORD if part.isascii() and part.isalpha() else _NAME
    return Token(_fold(part[: 4 * MAX_TERM])[:MAX_TERM], kind, start, start + len(part), position)


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
