"""Hits as they are returned: the rows, read through their labels, with a snippet and why they matched."""

from collections.abc import Sequence
from typing import Any
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
from memoryhub.memory.search.ranking import RankedHit
from memoryhub.memory.search.snippets import Sought, have_runs, snippets
from memoryhub.memory.search.sources import indexed_text

_FEW = 8  # hits that are read at a time, in order, where all do not fit


def show(
    viewer: Viewer, hits: Sequence[RankedHit], parsed: ParsedQuery, limit: int, *, most_bytes: int
) -> tuple[list[schemas.Hit], bool]:
    """The hits, at most `limit` and as many as fit into `most_bytes`; and whether there are more.

    Rows that were removed, hidden or expired since the index was written are left out.
    """
    rows, looked_at = _rows(viewer, hits[:limit], parsed, most_bytes)
    if len(rows) < limit < len(hits) and looked_at == limit:
        spare, further = _rows(viewer, hits[limit:], parsed, most_bytes)
        rows, looked_at = rows | spare, looked_at + further
    live = [hit for hit in hits[:looked_at] if hit.row_id in rows]
    found = live[:limit]
    marked = snippets([rows[hit.row_id][1] for hit in found], _sought(found, parsed))
    shown = [
        schemas.Hit(
            type=hit.type,
            id=hit.row_id,
            score=hit.score,
            matched=_matched(hit, parsed),
            snippet=snippet.text,
            highlights=snippet.highlights,
            row=rows[hit.row_id][0],
        )
        for hit, snippet in zip(found, marked, strict=True)
    ]
    return shown, len(live) > limit or looked_at < len(hits)


def _rows(
    viewer: Viewer, hits: Sequence[RankedHit], parsed: ParsedQuery, most_bytes: int
) -> tuple[dict[UUID, tuple[Any, str]], int]:
    """The rows of these hits as they are returned, each with its text; and how many hits were read."""
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
) -> tuple[dict[UUID, tuple[Any, str]], int | None]:
    """Also the bytes of text that were read, including rows without the phrases; None where not all fit."""
    rows: dict[UUID, tuple[Any, str]] = {}
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
            if _fits(text, parsed, is_sealed=label_by_id(row.label_id).is_sealed):
                rows[row.id] = (made, text)
    return rows, size


def _fits(text: str, parsed: ParsedQuery, *, is_sealed: bool) -> bool:
    """Whether a row has the exact phrases: the index has stems, and of a sealed row no positions."""
    without = [phrase.run for phrase in parsed.without if len(phrase.run) > 1] if is_sealed else []
    found = have_runs(text, [*(phrase.run for phrase in parsed.phrases), *without])
    return all(found[: len(parsed.phrases)]) and not any(found[len(parsed.phrases) :])


def _sought(hits: Sequence[RankedHit], parsed: ParsedQuery) -> Sought:
    groups = {group.query: group for hit in hits for group in hit.groups}.values()
    terms = {name for group in groups for name in group.names}
    parts = {word.text for word in parsed.words if any(group.is_part and group.shown == word.shown for group in groups)}
    return Sought(frozenset(terms), frozenset(parts))


def _matched(hit: RankedHit, parsed: ParsedQuery) -> schemas.Matched:
    groups: Sequence[Group] = hit.groups
    phrases = [phrase.shown for phrase in parsed.phrases]
    whole = dict.fromkeys(group.shown for group in groups if not group.is_part and group.shown not in phrases)
    parts = dict.fromkeys(group.shown for group in groups if group.is_part)
    meaning = UNSET if hit.meaning is None else hit.meaning
    return schemas.Matched(words=list(whole), phrases=phrases, parts=list(parts), meaning=meaning)
