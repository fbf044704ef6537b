"""Similarity of contexts: the features of a context, by which learnings are found and ranked.

A context is a JSON object. Its members are compared by name and value: an equal value is an exact match; a value that
shares a word, a prefix or a list item, or is a number of similar size, is a partial match. Words match anywhere in the
other's context and details. Features are strings, so that they can be hashed (core.secrecy).
"""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from memoryhub.core import work

MOST_PAIRS = 32
MOST_WORDS = 16
DEEPEST = 5
LONGEST_NAME = 100  # characters of a name that are compared, at each level
_TOGETHER = 5  # pairs whose combinations are features, too: finds a row with both among many with one
_MOST_PARTS = 8  # of one value
_BEGINNING = 4  # characters
_STEP = math.log(1.3)  # numbers are similar within a factor of 1.3 to 1.7
_WORD = re.compile(r"\w+")
_NUMERAL = r"[-+]?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?"  # no leading zeros: a postcode is no number
_LONGEST_TEXT = 20_000


@dataclass(frozen=True, slots=True)
class Pair:
    """A member of a context: its dotted name, and the features of an equal and of a similar member."""

    key: str
    exact: str
    partial: frozenset[str]
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class MatchQuery:
    """What to match: the pairs of a context, and words."""

    pairs: tuple[Pair, ...]
    words: tuple[str, ...]


def ask(context: Mapping[str, Any], text: str = "") -> MatchQuery:
    """What to match: the first 32 members by name, and the first 16 words of `text` and of those members."""
    pairs = tuple(_pairs(context, near=True))
    words = dict.fromkeys([*_words([text]), *(word for pair in pairs for word in sorted(pair.words))])
    return MatchQuery(pairs, tuple(list(words)[:MOST_WORDS]))


def features(context: Mapping[str, Any], details: Any) -> set[str]:
    """The features by which a learning is found: at most some 500, in practice two or three dozen."""
    pairs = _pairs(context, near=False)
    made = {pair.exact for pair in pairs}
    for pair in pairs:
        made |= pair.partial
    made.update(together(one, other) for one, other in _two(pairs))
    words = dict.fromkeys(word for pair in pairs for word in sorted(pair.words))
    # Of the details the longest words: they discriminate best.
    words |= dict.fromkeys(sorted(set(_words(_texts(details))), key=lambda word: (-len(word), word)))
    made.update(word_feature(word) for word in list(words)[:MOST_WORDS])
    return made


@dataclass(frozen=True, slots=True)
class Found:
    """What one learning matches of a query."""

    exact: list[Pair]
    partial: list[Pair]
    words: list[str]


def compare(query: MatchQuery, context: Mapping[str, Any], details: Any) -> Found:
    """Compare directly, without features, all of a learning's members and words."""
    wanted = {pair.key for pair in query.pairs}
    members: dict[str, Any] = {}
    for key, value in _members(context, "", 0):
        if key in wanted:
            members.setdefault(key, value)
    exact: list[Pair] = []
    similar: list[Pair] = []
    for pair in query.pairs:
        if pair.key not in members:
            continue
        own = _pair(pair.key, members[pair.key], near=False)
        if own.exact == pair.exact:
            exact.append(pair)
        elif own.partial & pair.partial:
            similar.append(pair)
    words = {*_words(_texts(details)), *_words(_texts(context))}
    return Found(exact, similar, [word for word in query.words if word in words])


def _two(pairs: Iterable[Pair]) -> Iterator[tuple[Pair, Pair]]:
    return combinations(sorted(pairs, key=lambda pair: pair.key)[:_TOGETHER], 2)


def together(one: Pair, other: Pair) -> str:
    """The feature of having both pairs."""
    return _feature("&", one.exact, other.exact)


def word_feature(word: str) -> str:
    """The feature of having the word anywhere."""
    return _feature("", word)


@dataclass(slots=True)
class Mask:
    """The parts of a query that a feature stands for, one bit each."""

    exact: int = 0
    partial: int = 0
    words: int = 0


def masks(query: MatchQuery) -> dict[str, Mask]:
    """Every feature of a query, with the parts that it stands for."""
    made: dict[str, Mask] = {}
    for number, pair in enumerate(query.pairs):
        made.setdefault(pair.exact, Mask()).exact |= 1 << number
        for part in pair.partial:
            made.setdefault(part, Mask()).partial |= 1 << number
    for number, word in enumerate(query.words):
        made.setdefault(word_feature(word), Mask()).words |= 1 << number
    place = {pair.key: number for number, pair in enumerate(query.pairs)}
    for one, other in _two(query.pairs):
        made.setdefault(together(one, other), Mask()).exact |= 1 << place[one.key] | 1 << place[other.key]
    return made


def plain(words: Iterable[str]) -> list[int]:
    """A signed 64-bit hash (BLAKE2b) of each feature, for rows that are not confidential."""
    return [int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), signed=True) for word in words]


def _pairs(context: Mapping[str, Any], *, near: bool) -> list[Pair]:
    """The first 32 members by name. `near`: with the neighbouring sizes of a number, for a query."""
    found: dict[str, Any] = {}
    for key, value in _members(context, "", 0):
        found.setdefault(key, value)
        if len(found) > 2 * MOST_PAIRS:
            found = {name: found[name] for name in sorted(found)[:MOST_PAIRS]}
    return [_pair(key, found[key], near=near) for key in sorted(found)[:MOST_PAIRS]]


def _members(node: Mapping[str, Any], above: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        work.check()
        path = f"{above}{name[:LONGEST_NAME].casefold()}"
        if isinstance(value, dict) and value and depth < DEEPEST:
            yield from _members(value, f"{path}.", depth + 1)
        else:
            yield path, value


def _pair(key: str, value: Any, *, near: bool) -> Pair:
    parts: set[str] = set()
    words: list[str] = []
    for item in (value if isinstance(value, list) else [value])[:_MOST_PARTS]:
        words_of_item = _words(_texts(item))[: _MOST_PARTS - len(words)]
        words += words_of_item
        number = _number(item)
        if number is None:
            parts |= {_feature("~", key, word) for word in words_of_item}
            parts |= {_feature("^", key, word[:_BEGINNING]) for word in words_of_item if len(word) > _BEGINNING}
        else:
            parts |= {_feature("#", key, size) for size in _sizes(number, near)}
            parts.add(_feature("~", key, _canonical(item)))
    words = words[:_MOST_PARTS]
    return Pair(key, _feature("=", key, _canonical(value)), frozenset(parts), frozenset(words))


def _feature(*parts: str) -> str:
    return "\0".join(parts)  # no part contains it


def _canonical(value: Any) -> str:
    """One string for equal values: `50`, `50.0` and `"50"` (not `"050"`, a code); `Retail` and `retail`; a list in any
    order.
    """
    if isinstance(value, list):
        return "[" + ",".join(sorted(map(_canonical, value))) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_canonical(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, bool) or value is None:
        return str(value).casefold()
    number = _number(value)
    if number is not None:
        return repr(int(number) if number == int(number) else number)
    return " ".join(str(value).casefold().split())


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not re.fullmatch(_NUMERAL, value.strip(), re.ASCII):
        return None
    return float(value)


def _sizes(number: float, near: bool) -> list[str]:
    if number == 0:
        return ["0"]
    size = math.floor(math.log(abs(number)) / _STEP)
    sign = "-" if number < 0 else "+"
    return [f"{sign}{size + step}" for step in ((-1, 0, 1) if near else (0,))]


def _texts(value: Any) -> Iterator[str]:
    """Every string and number of a JSON value."""
    if isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _words(texts: Iterable[str]) -> list[str]:
    """The words of the first 20,000 characters: those of three characters or more, and of two with a digit."""
    text = " ".join(texts)[:_LONGEST_TEXT].casefold()
    return [
        word[:100] for word in _WORD.findall(text) if len(word) > 2 or (len(word) == 2 and any(map(str.isdigit, word)))
    ]
