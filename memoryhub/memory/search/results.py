"""Hits as they are returned: the rows, read through their labels, with a snippet and why they matched."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import UNSET

from memoryhub.core import work
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import Fitted
from memoryhub.core.viewers import Viewer
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas import search as schemas
from memoryhub.memory.search.fetch_plan import Group
from memoryhub.memory.search.query import ParsedQuery
from memoryhub.memory.search.scoring import RankedHit
from memoryhub.memory.search.snippets import Snippet, Sought, have_runs, snippets
from memoryhub.memory.search.sources import indexed_text
from memoryhub.memory.search.terms import without_mark

FIELDS = frozenset(field for field in schemas.Hit.__struct_fields__ if field not in schemas.ALWAYS)
_FEW = 8  # hits that are read at a time, in order, where all do not fit


class _Row(NamedTuple):
    """A row as it is returned, its text, and which of the query's phrases it has."""

    made: Any
    text: str
    phrases: list[bool]

    @property
    def is_exact(self) -> bool:
        """Whether it has all phrases, letter by letter: the index has stems, and of a sealed row no positions."""
        return all(self.phrases)


def show(
    viewer: Viewer,
    hits: Sequence[RankedHit],
    parsed: ParsedQuery,
    limit: int,
    *,
    most_bytes: int,
    fields: frozenset[str] = FIELDS,
) -> tuple[list[schemas.Hit], bool]:
    """The hits, at most `limit` and as many as fit into `most_bytes`; and whether there are more.

    Rows with all phrases come first. Rows that were removed, hidden or expired since the index was written are left
    out. `fields`: the members that are returned.
    """
    rows, looked_at = _rows(viewer, hits[:limit], parsed, most_bytes)
    exact = sum(row.is_exact for row in rows.values())
    if exact < limit < len(hits) and looked_at == limit and not (len(rows) == limit and hits[limit].relaxed):
        spare, further = _rows(viewer, hits[limit:], parsed, most_bytes)
        rows, looked_at = rows | spare, looked_at + further
    live = [hit for hit in hits[:looked_at] if hit.row_id in rows]
    live.sort(key=lambda hit: not rows[hit.row_id].is_exact)
    found = live[:limit]
    marked: Sequence[Snippet | None] = [None] * len(found)
    if fields & {"snippet", "highlights"}:
        marked = snippets([rows[hit.row_id].text for hit in found], _sought(found, parsed))
    shown = [_shown(hit, rows[hit.row_id], snippet, parsed, fields) for hit, snippet in zip(found, marked, strict=True)]
    return shown, len(live) > limit or looked_at < len(hits)


def _shown(
    hit: RankedHit, row: _Row, snippet: Snippet | None, parsed: ParsedQuery, fields: frozenset[str]
) -> schemas.Hit:
    return schemas.Hit(
        type=hit.type,
        id=hit.row_id,
        score=hit.score,
        matched=_matched(hit, row, parsed) if "matched" in fields else UNSET,
        snippet=snippet.text if snippet and "snippet" in fields else UNSET,
        highlights=snippet.highlights if snippet and "highlights" in fields else UNSET,
        row=row.made if "row" in fields else UNSET,
        relaxed=UNSET if row.is_exact else True,
    )


def _rows(
    viewer: Viewer, hits: Sequence[RankedHit], parsed: ParsedQuery, most_bytes: int
) -> tuple[dict[UUID, _Row], int]:
    """The rows of these hits; and how many hits were read."""
    rows, size = _read(viewer, hits, parsed, most_bytes)
    if size is not None:
        return rows, len(hits)
    rows, total, looked_at, few = {}, 0, 0, _FEW
    while looked_at < len(hits) and total <= most_bytes:
        some, size = _read(viewer, hits[looked_at : looked_at + few], parsed, most_bytes)
        if size is None:
            few = 1
            continue
        total += size
        rows |= some
        looked_at = min(looked_at + few, len(hits))
    return rows, looked_at


def _read(
    viewer: Viewer, hits: Sequence[RankedHit], parsed: ParsedQuery, most_bytes: int
) -> tuple[dict[UUID, _Row], int | None]:
    """Also the bytes of text that were read, including rows without the phrases; None where not all fit."""
    rows: dict[UUID, _Row] = {}
    size = 0
    for kind in KINDS.values():
        ids = [hit.row_id for hit in hits if hit.type == kind.name]
        found: Fitted[Any] = kind.by_ids(viewer, ids, most_bytes) if ids else Fitted()
        if found.at_most is not None and len(ids) > 1:
            return rows, None
        for row in found:
            work.check()
            made = row.show()
            text = indexed_text(kind, row.read(), made)
            size += len(text.encode())
            without, phrases = _runs(text, parsed)
            if not (any(without) and label_by_id(row.label_id).is_sealed):
                rows[row.id] = _Row(made, text, phrases)
    return rows, size


def _runs(text: str, parsed: ParsedQuery) -> tuple[list[bool], list[bool]]:
    """Which of the excluded phrases of several words, and which phrases, a text has."""
    without = [phrase.run for phrase in parsed.without if len(phrase.run) > 1]
    found = have_runs(text, [*without, *(phrase.run for phrase in parsed.phrases)])
    return found[: len(without)], found[len(without) :]


def _sought(hits: Sequence[RankedHit], parsed: ParsedQuery) -> Sought:
    groups = {group.query: group for hit in hits for group in hit.groups}.values()
    terms = {without_mark(name) for group in groups for name in group.names}
    parts = {word.text for word in parsed.words if any(group.is_part and group.shown == word.shown for group in groups)}
    return Sought(frozenset(terms), frozenset(parts))


def _matched(hit: RankedHit, row: _Row, parsed: ParsedQuery) -> schemas.Matched:
    groups: Sequence[Group] = hit.groups
    there = [phrase for phrase, is_there in zip(parsed.phrases, row.phrases, strict=True) if is_there]
    phrases = [phrase.shown for phrase in there]
    within = {token.text for phrase in there for token in phrase.run} - {word.shown for word in parsed.words}
    whole = dict.fromkeys(group.shown for group in groups if not group.is_part and group.shown not in within)
    parts = dict.fromkeys(group.shown for group in groups if group.is_part)
    meaning = UNSET if hit.meaning is None else hit.meaning
    return schemas.Matched(words=list(whole), phrases=phrases, parts=list(parts), meaning=meaning)
