"""Snippets: the part of a row's text that has most of the query, with the places of its words."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from memoryhub.core import work
from memoryhub.core.readable import readable
from memoryhub.memory.search.irregular import forms_of
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.tokenizer import TermKind, Token, normalise, tokens

LENGTH = 240  # characters of a snippet
_LOOKED_AT = 4_000  # characters of a text that are searched, from shortly before the first possible match
_BEFORE = 60
_SPACE = re.compile(r"\s")


class Sought(NamedTuple):
    """What is marked: words whose stem (of a stop word: itself) is one of `terms`, or that contain one of `parts`."""

    terms: frozenset[str]
    parts: frozenset[str]


class Snippet(NamedTuple):
    """`highlights`: [start, end) of each match in the text, in characters (Unicode code points)."""

    text: str
    highlights: list[list[int]]


def snippets(texts: Sequence[str], sought: Sought) -> list[Snippet]:
    """The snippet of each text; its beginning where nothing is found (the word is beyond what is searched)."""
    heads = _heads(sought)
    cut = [_cut(text, heads) for text in texts]
    likely = _likely(sought)
    known: dict[str, list[Token]] = {}
    found = [list(_candidates(text, likely, known)) for text in cut]
    first = {term[:1] for term in sought.terms | forms_of(sought.terms)}
    wanted = {token.text for run in found for token in run if token.kind is TermKind.WORD and token.text[:1] in first}
    stem = stems(wanted) if wanted else {}
    made = []
    for text, run in zip(cut, found, strict=True):
        work.check()
        made.append(_snippet(text, [token for token in run if _is_match(token, sought, stem)]))
    return made


def _heads(sought: Sought) -> set[str]:
    # A stem's end may differ from the word's (happi, happy), its beginning hardly ever does.
    begin = {term[: max(2, min(len(term) - 1, 5))] for term in sought.terms}
    return begin | sought.parts | forms_of(sought.terms)


def _cut(text: str, heads: set[str]) -> str:
    work.check()
    first = _first(text, heads) if len(text) > _LOOKED_AT else 0
    start = max(first - 2 * _BEFORE, 0)
    while start and not text[start - 1].isspace() and start < first:
        start += 1
    return ("…" if start else "") + text[start : start + _LOOKED_AT]


def _first(text: str, heads: set[str]) -> int:
    """The place of the first of these, as readers see the text; 0 without any."""
    shown = readable(text)
    seen = shown.text if text.isascii() else shown.text.translate(_plain_letters())
    lowered = seen.lower()
    first = len(lowered)
    for head in heads:
        at = lowered.find(head, 0, first)
        first = at if at >= 0 else first
    return shown.span(first, first)[0] % len(text)


@cache
def _plain_letters() -> dict[int, str]:
    """Letters of alphabets and full-width ones in the form in which words are compared, where that is one letter."""
    made = {code: normalise(chr(code)) for code in (*range(0x80, 0x2000), *range(0xFF00, 0xFFF0))}
    return {code: letter for code, letter in made.items() if len(letter) == 1}


def _likely(sought: Sought) -> re.Pattern[str]:
    """What a lower-case ASCII text contains where it may match. A stem begins with its word's first letter, except that
    of an irregular form.
    """
    words = {term[0] for term in sought.terms | forms_of(sought.terms) if term.isascii() and term.isalpha()}
    exact = {term for term in sought.terms if not (term.isascii() and term.isalpha())} | sought.parts
    ways = [rf"(?<![a-z0-9])[{''.join(sorted(words))}]"] if words else []
    return re.compile("|".join([*ways, *map(re.escape, sorted(exact))]) or "(?!)")


def _candidates(text: str, likely: re.Pattern[str], known: dict[str, list[Token]]) -> Iterator[Token]:
    """The tokens that may match, without their `position`: few of the pieces between spaces are tokenised.

    `known`: the tokens of pieces that were seen before, which mostly are the words that were searched for.
    """
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
        piece = spaced[start:end]
        if piece not in known:
            known[piece] = list(tokens(piece))
        for token in known[piece]:
            yield token._replace(start=start + token.start, end=start + token.end)


def _is_match(token: Token, sought: Sought, stem: dict[str, str | None]) -> bool:
    term = stem.get(token.text) or token.text  # a stop word has no stem
    return term in sought.terms or (bool(sought.parts) and any(part in token.text for part in sought.parts))


def _snippet(text: str, matches: list[Token]) -> Snippet:
    best = _best(matches)
    start = max(best - _BEFORE, 0)
    while 0 < start < best and not text[start - 1].isspace():
        start += 1
    end = min(start + LENGTH, len(text))
    ahead = "…" if start else ""
    shift = len(ahead) - start
    marks = [[token.start + shift, token.end + shift] for token in matches if token.start >= start and token.end <= end]
    body = _SPACE.sub(" ", text[start:end])
    return Snippet(ahead + body + ("…" if end < len(text) else ""), _merged(marks))


def _best(matches: list[Token]) -> int:
    """The start of the part with the most different words, the first of several; 0 without any."""
    best = most = end = 0
    within: Counter[str] = Counter()
    for one in matches:
        while end < len(matches) and matches[end].start - one.start < LENGTH - _BEFORE:
            within[matches[end].text] += 1
            end += 1
        if len(within) > most:
            best, most = one.start, len(within)
        within[one.text] -= 1
        if not within[one.text]:
            del within[one.text]
    return best


def _merged(marks: list[list[int]]) -> list[list[int]]:
    """Marks that touch or overlap (an identifier and its parts), merged."""
    made: list[list[int]] = []
    for start, end in sorted(marks):
        if made and start <= made[-1][1]:
            made[-1][1] = max(made[-1][1], end)
        else:
            made.append([start, end])
    return made


def have_runs(text: str, runs: Sequence[Sequence[Token]]) -> list[bool]:
    """For each of these phrases, whether its words follow one another in a text."""
    if not runs:
        return []
    work.check()
    signs: dict[str, str] = {}
    for run in runs:
        for token in run:
            signs.setdefault(token.text, chr(len(signs) + 2))
    spelt = _spelt(tokens(text), signs)
    return [_spelt(run, signs) in spelt for run in runs]


def _spelt(run: Iterable[Token], signs: Mapping[str, str]) -> str:
    """One character per word, at its position, so that a phrase is a substring; identifiers by their parts."""
    made: list[str] = []
    before = None
    for token in run:
        if token.kind is TermKind.WHOLE:
            continue
        if before is not None and token.position > before + 1:
            made.append("\0" * (token.position - before - 1))
        made.append(signs.get(token.text, "\1"))
        before = token.position
    return "".join(made)
