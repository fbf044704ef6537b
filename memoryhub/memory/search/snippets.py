"""Snippets: the part of a row's text where most of the query stands, with where its words are."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from memoryhub.core import work
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.words import Kind, Token, tokens

LENGTH = 240  # characters of a snippet
_LOOKED_AT = 4_000  # of a text, from a little before the first place that may be a match
_BEFORE = 60
_SPACE = re.compile(r"\s")


class Sought(NamedTuple):
    """What is marked: words whose term is one of `terms`, or that have one of `parts` in them."""

    terms: frozenset[str]
    parts: frozenset[str]


class Snippet(NamedTuple):
    """`highlights`: [start, end) of each match in the text, in characters (Unicode code points)."""

    text: str
    highlights: list[list[int]]


def snippets(texts: Sequence[str], sought: Sought) -> list[Snippet]:
    """The snippet of each text; its beginning where nothing is found (a word beyond what is looked at)."""
    pattern = _pattern(sought)
    cut = [_cut(text, pattern) for text in texts]
    likely = _likely(sought)
    found = [list(_candidates(text, likely)) for text in cut]
    heads = {term[:1] for term in sought.terms}
    wanted = {token.text for run in found for token in run if token.kind is Kind.WORD and token.text[:1] in heads}
    stem = stems(wanted) if wanted else {}
    made = []
    for text, run in zip(cut, found, strict=True):
        work.check()
        made.append(_snippet(text, [token for token in run if _is_match(token, sought, stem)]))
    return made


def _pattern(sought: Sought) -> re.Pattern[str] | None:
    # A stem's end may differ from the word's (happi, happy), its beginning hardly ever does.
    heads = {term[: max(2, min(len(term) - 1, 5))] for term in sought.terms} | sought.parts
    return re.compile("|".join(map(re.escape, sorted(heads, key=len, reverse=True))), re.IGNORECASE) if heads else None


def _cut(text: str, pattern: re.Pattern[str] | None) -> str:
    first = pattern.search(text) if pattern and len(text) > _LOOKED_AT else None
    start = max(first.start() - 2 * _BEFORE, 0) if first else 0
    while start and not text[start - 1].isspace() and start < first.start():  # type: ignore[union-attr]
        start += 1
    return ("…" if start else "") + text[start : start + _LOOKED_AT]


def _likely(sought: Sought) -> re.Pattern[str]:
    """What is in a piece of an ASCII text in small letters that may match. A word's stem begins as it does."""
    words = {term[0] for term in sought.terms if term.isascii() and term.isalpha()}
    exact = {term for term in sought.terms if not (term.isascii() and term.isalpha())} | sought.parts
    ways = [rf"(?<![a-z0-9])[{''.join(sorted(words))}]"] if words else []
    return re.compile("|".join([*ways, *map(re.escape, sorted(exact))]) or "(?!)")


def _candidates(text: str, likely: re.Pattern[str]) -> Iterator[Token]:
    """The tokens that may match, without their `position`: few of the pieces between spaces have any."""
    if not text.isascii():
        yield from tokens(text)
        return
    spaced = _SPACE.sub(" ", text.lower())
    end = -1
    for found in likely.finditer(spaced):
        if found.start() <= end:
            continue
        start, end = spaced.rfind(" ", 0, found.start()) + 1, spaced.find(" ", found.end())
        end = len(spaced) if end < 0 else end
        for token in tokens(spaced[start:end]):
            yield token._replace(start=start + token.start, end=start + token.end)


def _is_match(token: Token, sought: Sought, stem: dict[str, str | None]) -> bool:
    term = stem.get(token.text) if token.kind is Kind.WORD else token.text
    return term in sought.terms or (bool(sought.parts) and any(part in token.text for part in sought.parts))


def _snippet(text: str, matches: list[Token]) -> Snippet:
    is_one_word = len({token.text for token in matches}) == 1  # then the first place is as good as any
    best = max(
        matches[:1] if is_one_word else matches,
        key=lambda one: (
            len({other.text for other in matches if 0 <= other.start - one.start < LENGTH - _BEFORE}),
            -one.start,
        ),
        default=None,
    )
    start = max(best.start - _BEFORE, 0) if best else 0
    while best and 0 < start < best.start and not text[start - 1].isspace():
        start += 1
    end = min(start + LENGTH, len(text))
    ahead = "…" if start else ""
    shift = len(ahead) - start
    marks = [[token.start + shift, token.end + shift] for token in matches if token.start >= start and token.end <= end]
    body = _SPACE.sub(" ", text[start:end])
    return Snippet(ahead + body + ("…" if end < len(text) else ""), _merged(marks))


def _merged(marks: list[list[int]]) -> list[list[int]]:
    """Those that touch or overlap (an identifier and its parts) as one."""
    made: list[list[int]] = []
    for start, end in sorted(marks):
        if made and start <= made[-1][1]:
            made[-1][1] = max(made[-1][1], end)
        else:
            made.append([start, end])
    return made


def has_run(text: str, run: Sequence[Token]) -> bool:
    """Whether the words of a phrase stand one after the other in a text."""
    work.check()
    wanted = {token.text for token in run}
    places: dict[str, set[int]] = {}
    for token in tokens(text):
        if token.text in wanted:
            places.setdefault(token.text, set()).add(token.position)
    first = run[0]
    return any(
        all(start + token.position - first.position in places.get(token.text, ()) for token in run)
        for start in places.get(first.text, ())
    )
