"""Parsing a query: words, "quoted phrases", -words to exclude."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from memoryhub.memory.search.tokenizer import TermKind, Token, tokens

MAX_WORDS = 32  # of a query that are searched for; more do not improve the ranking
_PIECE = re.compile(r'(?:(?<!\S)-)?"([^"]*)"?|(?:(?<!\S)-(?=\w))?[^\s"]+')


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was typed. `parts`: of an identifier, searched instead where the whole is not found."""

    shown: str
    text: str
    kind: TermKind
    parts: tuple[Token, ...] = ()


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that must follow one another."""

    shown: str
    run: tuple[Token, ...]


@dataclass(slots=True)
class ParsedQuery:
    """A query. A row must have all of `phrases` and none of `without`; of `words`, the more the better."""

    words: list[Word] = field(default_factory=list)
    phrases: list[Phrase] = field(default_factory=list)
    without: list[Phrase] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to search for."""
        return not self.words and not self.phrases


def read(query: str) -> ParsedQuery:
    """Parse a query. Any string is valid: what has no meaning is ignored."""
    parsed = ParsedQuery()
    for piece in _PIECE.finditer(query):
        is_excluded = piece[0].startswith("-")
        if piece[1] is None and not is_excluded:
            parsed.words += _words(piece[0])
            continue
        text = piece[0][1:] if piece[1] is None else piece[1]
        phrase = Phrase(text.strip(), tuple(_apart(text)))
        if phrase.run:
            (parsed.without if is_excluded else parsed.phrases).append(phrase)
    parsed.words = list({word.text: word for word in parsed.words}.values())
    return parsed


def meant(query: str) -> str:
    """The query for a search by meaning: its words as they were typed, without quotes and without exclusions."""
    found = [piece for piece in _PIECE.finditer(query) if not piece[0].startswith("-")]
    return " ".join(said for piece in found if (said := (piece[0] if piece[1] is None else piece[1]).strip()))


def _apart(text: str) -> Iterator[Token]:
    """The words of a text, with identifiers split into their parts."""
    return (token for token in tokens(text) if token.kind is not TermKind.WHOLE)


def _words(piece: str) -> Iterator[Word]:
    found = list(tokens(piece))
    wholes = {
        token: tuple(part for part in found if _is_part(part, token)) for token in found if token.kind is TermKind.WHOLE
    }
    # The parts of a number or code are searched only where the whole is not found; those of a compound are words, too.
    hidden = {part for token, parts in wholes.items() if any(map(str.isdigit, token.text)) for part in parts}
    for token in found:
        if token not in hidden:
            yield Word(piece[token.start : token.end], token.text, token.kind, wholes.get(token, ()))


def _is_part(token: Token, whole: Token) -> bool:
    return token.kind is not TermKind.WHOLE and whole.start <= token.start and token.end <= whole.end
