"""English stems (PostgreSQL's Snowball stemmer), requested from the server once per word and process."""

from collections.abc import Iterable

from memoryhub.core.db.statements import run
from memoryhub.memory.search.irregular import BASE

_MAX_KEPT = 100_000
_kept: dict[str, str | None] = {}


def stems(words: Iterable[str]) -> dict[str, str | None]:
    """Word -> stem, of an irregular form that of its base; None for stop words (the, of, who).

    `words`: lower-case ASCII letters.
    """
    global _kept
    wanted = set(words)
    if len(_kept) > _MAX_KEPT:
        _kept = {}  # a new one, since other threads may be reading this one
    kept = _kept
    fresh = sorted(wanted - kept.keys())
    if fresh:
        statement = "select w, (ts_lexize('english_stem', w))[1] from unnest(%(words)s::text[]) w"
        bases = {word: BASE.get(word, word) for word in fresh}
        found: dict[str, str | None] = dict(run(statement, {"words": sorted(set(bases.values()))}))
        kept.update((word, found[base]) for word, base in bases.items())
    return {word: kept[word] for word in wanted}
