"""Hits as they are answered: the rows themselves, through their labels, with a snippet and why they matched."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from memoryhub.core.labels import label_by_id
from memoryhub.core.viewers import Viewer
from memoryhub.memory import answers, rendering
from memoryhub.memory.search.asked import Asked
from memoryhub.memory.search.find import Hit
from memoryhub.memory.search.plan import Group
from memoryhub.memory.search.snippets import Sought, has_run, snippets
from memoryhub.memory.search.words import plain_text
from memoryhub.memory.selectors import facts, memories


def _observations(viewer: Viewer, ids: Sequence[UUID]) -> list[Any]:
    return list(memories.observations(viewer, memories.Filters(ids=ids), limit=len(ids), last=True))


def _decisions(viewer: Viewer, ids: Sequence[UUID]) -> list[Any]:
    return list(memories.decisions(viewer, memories.Filters(ids=ids), limit=len(ids)))


def _facts(viewer: Viewer, ids: Sequence[UUID]) -> list[Any]:
    return list(facts.live(viewer, ids))


def _learnings(viewer: Viewer, ids: Sequence[UUID]) -> list[Any]:
    return list(memories.learnings(viewer, memories.Filters(ids=ids), limit=len(ids)))


# Type -> how its rows are read and answered, and which members of the answer hold the text that is indexed.
SHOWN: Mapping[str, tuple[Callable[[Viewer, Sequence[UUID]], list[Any]], Callable[[Any], Any], tuple[str, ...]]] = {
    "observation": (_observations, rendering.observation, ("content",)),
    "decision": (_decisions, rendering.decision, ("decision", "reasoning")),
    "fact": (_facts, rendering.fact, ("key", "value")),
    "learning": (_learnings, rendering.learning, ("details", "context")),
}


def show(viewer: Viewer, hits: Sequence[Hit], asked: Asked, limit: int) -> list[answers.Hit]:
    """The hits, at most `limit`, without those that are gone, hidden or expired since the index was written."""
    rows = _rows(viewer, hits[:limit], asked)
    if len(rows) < limit < len(hits):
        rows |= _rows(viewer, hits[limit:], asked)
    found = [hit for hit in hits if hit.row_id in rows][:limit]
    marked = snippets([rows[hit.row_id][1] for hit in found], _sought(found, asked))
    return [
        {
            "type": hit.type,
            "id": hit.row_id,
            "score": hit.score,
            "matched": _matched(hit, asked),
            "snippet": snippet.text,
            "highlights": snippet.highlights,
            "row": rows[hit.row_id][0],
        }
        for hit, snippet in zip(found, marked, strict=True)
    ]


def _rows(viewer: Viewer, hits: Sequence[Hit], asked: Asked) -> dict[UUID, tuple[Any, str]]:
    """The rows of these hits as they are answered, each with its text."""
    rows: dict[UUID, tuple[Any, str]] = {}
    for kind, (read, render, members) in SHOWN.items():
        ids = [hit.row_id for hit in hits if hit.type == kind]
        for row in read(viewer, ids) if ids else ():
            made = render(row)
            text = "\n".join(plain_text(made[name]) for name in members if made[name])
            if _fits(text, asked, is_sealed=label_by_id(row.label_id).is_sealed):
                rows[row.id] = (made, text)
    return rows


def _fits(text: str, asked: Asked, *, is_sealed: bool) -> bool:
    """Whether a row has the phrases to the letter: the index knows stems, and of a sealed row no places of words."""
    if not all(has_run(text, phrase.run) for phrase in asked.phrases):
        return False
    return not (is_sealed and any(has_run(text, phrase.run) for phrase in asked.without if len(phrase.run) > 1))


def _sought(hits: Sequence[Hit], asked: Asked) -> Sought:
    groups = {group.query: group for hit in hits for group in hit.groups}.values()
    terms = {name for group in groups for name in group.names}
    parts = {word.text for word in asked.words if any(group.is_part and group.shown == word.shown for group in groups)}
    return Sought(frozenset(terms), frozenset(parts))


def _matched(hit: Hit, asked: Asked) -> answers.Matched:
    groups: Sequence[Group] = hit.groups
    phrases = [phrase.shown for phrase in asked.phrases]
    whole = dict.fromkeys(group.shown for group in groups if not group.is_part and group.shown not in phrases)
    matched: answers.Matched = {
        "words": list(whole),
        "phrases": phrases,
        "parts": list(dict.fromkeys(group.shown for group in groups if group.is_part)),
    }
    if hit.meaning is not None:
        matched["meaning"] = hit.meaning
    return matched
