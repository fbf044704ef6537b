"""English stems (Snowball, as PostgreSQL has it), asked of the server once a word and process."""

from collections.abc import Iterable

from memoryhub.core.sql import run

_MAX_KEPT = 100_000
_kept: dict[str, str | None] = {}


def stems(words: Iterable[str]) -> dict[str, str | None]:
    """Word -> stem; None for those that hardly tell rows apart (the, of, who). `words`: lower-case ASCII letters."""
    wanted = set(words)
    fresh = sorted(wanted - _kept.keys())
    if fresh:
        if len(_kept) > _MAX_KEPT:
            _kept.clear()
            fresh = sorted(wanted)
        asked = "select w, (ts_lexize('english_stem', w))[1] from unnest(%(words)s::text[]) w"
        _kept.update(run(asked, {"words": fresh}))
    return {word: _kept[word] for word in wanted}
