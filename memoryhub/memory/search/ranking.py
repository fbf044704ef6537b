"""Search: which of a query's words, parts of words and phrases are looked for, and the rows that have them, ranked."""

import math
from collections.abc import Sequence
from dataclasses import replace

from memoryhub.core.db.statements import run
from memoryhub.core.viewers import Viewer
from memoryhub.memory.search.fetch_plan import Group
from memoryhub.memory.search.lookup import Index, SearchFilters, count, look_up, needs_of, words_of
from memoryhub.memory.search.query import MAX_WORDS, ParsedQuery, Phrase, Word
from memoryhub.memory.search.scoring import RankedHit, ranked
from memoryhub.memory.search.terms import is_stop_word, term_of
from memoryhub.memory.search.tokenizer import TermKind, tokens

MODES = ("hybrid", "text", "substring")
PART_WEIGHT = 0.5  # of a word that was found only as a part of others
MAX_FORMS = 30  # words that a part of a word may stand for
MAX_PARTS = 8  # words of a query that are searched for as parts of others
MIN_PART = 3  # letters; one character in scripts without spaces


def find(viewer: Viewer, asked: ParsedQuery, filters: SearchFilters, *, mode: str, limit: int) -> list[RankedHit]:
    """The best rows, at most `limit`, by BM25; ties: the newest first.

    Those with all phrases come first. Where they are fewer, rows with any of the phrases' words follow.
    """
    index = look_up(viewer, asked, filters)
    words, phrases = _meant(index, asked)
    groups = _groups(index, [*words, *words_of(index, phrases)], mode)
    hits = ranked(index, groups, needs_of(index, phrases, asked.without, filters), filters, limit)
    if phrases and len(hits) < limit:
        known = {hit.row_id for hit in hits}
        relaxed = ranked(index, groups, needs_of(index, (), asked.without, filters), filters, limit)
        hits += [hit._replace(relaxed=True) for hit in relaxed if hit.row_id not in known][: limit - len(hits)]
    return hits


def _meant(index: Index, asked: ParsedQuery) -> tuple[Sequence[Word], Sequence[Phrase]]:
    """The words and phrases that are searched for. Stop words count where there is nothing else: as a phrase."""
    words = [word for word in asked.words if not is_stop_word(term_of(word, index.stem))]
    if words or asked.phrases:
        return words, asked.phrases
    if len(asked.words) < 2:
        return asked.words, ()
    shown = " ".join(word.shown for word in asked.words)
    return (), [Phrase(shown, tuple(tokens(shown)))]


def _groups(index: Index, words: Sequence[Word], mode: str) -> list[Group]:
    """The group of each word that the index has, weighed; the rarest when there are too many words."""
    groups: list[Group] = []
    missing: list[Word] = []
    for word in words:
        found = [] if mode == "substring" else _whole(index, word, is_alone=len(words) == 1)
        groups += found
        if not found:
            missing.append(word)
    if mode != "text":
        groups += _parts(index, missing[:MAX_PARTS], anywhere=mode == "substring")
    # A compound and its parts may both have been typed.
    once = {tuple(group.terms): group for group in groups}.values()
    total = sum(cell.docs for cell in index.cells)
    return [_weighed(group, total) for group in sorted(once, key=lambda one: (one.docs, one.terms))[:MAX_WORDS]]


def _weighed(group: Group, total: int) -> Group:
    having = min(group.docs, total)
    return replace(group, weight=group.weight * math.log(1 + (total - having + 0.5) / (having + 0.5)))


def _whole(index: Index, word: Word, *, is_alone: bool) -> list[Group]:
    """The word itself; and its parts, unless it is all that is asked for and the index has it."""
    whole = index.group(word.shown, [term_of(word, index.stem)])
    if whole.cells and (is_alone or not word.parts):
        return [whole]
    parts = [term_of(part, index.stem) for part in word.parts]
    found = [whole, *(index.group(word.shown, [name]) for name in parts if not is_stop_word(name))]
    return [group for group in found if group.cells]


def _parts(index: Index, words: Sequence[Word], *, anywhere: bool) -> list[Group]:
    """For words that the index does not have: those that begin with them, else those that contain them."""
    found: list[tuple[Word, list[str]]] = []
    for word in words:
        if len(word.text) < (1 if word.kind is TermKind.GRAM else MIN_PART):
            continue
        forms = [] if anywhere else _forms(word.text, anywhere=False)
        if not forms and len(word.text) >= MIN_PART:
            forms = _forms(word.text, anywhere=True)
        if forms:
            found.append((word, forms))
    if found:
        count(index, sorted({form for _, forms in found for form in forms}))
    groups = [index.group(word.shown, forms, weight=PART_WEIGHT, is_part=True) for word, forms in found]
    return [group for group in groups if group.cells]


def _forms(part: str, *, anywhere: bool) -> list[str]:
    asked = "select term from search_parts(%(part)s::text, %(anywhere)s::bool, %(at_most)s::int)"
    return [term for (term,) in run(asked, {"part": part, "anywhere": anywhere, "at_most": MAX_FORMS})]
