"""The learnings that are relevant to a context: found by their keys, ranked by what matches.

The cost is the same with 100 learnings and with 1,000,000: per visible label, for each of the query's features (some
hundred at most), the newest 200 learnings are read, however many have it. Candidates are counted per label, so that
hidden rows change nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from memoryhub.core import work
from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.db.fitting import BYTES, ended, fit
from memoryhub.core.db.statements import run
from memoryhub.core.secrecy.blind_index import blind
from memoryhub.core.secrecy.sealing import unseal
from memoryhub.core.transactions import current
from memoryhub.core.viewers import Viewer
from memoryhub.memory import similarity
from memoryhub.memory.models import Signal
from memoryhub.memory.schemas.learnings import ContextMatch, Learning, RelevantLearning
from memoryhub.memory.schemas.rows import CLOCK, Stored, copied
from memoryhub.memory.selectors.memories import columns

_NEWEST = 200  # learnings of one label that are read for one feature
_BEST = 1000  # candidates that match most, before filters
_SPARE = 30  # read and ranked beyond `limit`: a match beyond the newest 200 of a feature shows only in the row
_HALF_LIFE_DAYS = 30
_TRIED = (Signal.SUCCESS, Signal.FAILURE)


@dataclass(frozen=True, slots=True)
class Relevant:
    """A learning with its relevance, from 0 to 1, and what matched."""

    row: Stored[Learning]
    relevance: float
    matched: tuple[ContextMatch, ...]

    @property
    def id(self) -> UUID:
        return self.row.id

    def show(self) -> RelevantLearning:
        """The learning with why it is relevant."""
        return copied(self.row.show(), RelevantLearning, relevance=self.relevance, matched=list(self.matched))


# Those of the visible labels that have learnings at all: a loose index scan.
_USED = """used(id) as (
    (select k.label_id from learning_key k where k.label_id = any (%(labels)s::int[]) order by k.label_id limit 1)
    union all
    select (select k.label_id from learning_key k where k.label_id = any (%(labels)s::int[]) and k.label_id > u.id
            order by k.label_id limit 1) from used u where u.id is not null)"""
_HITS = """
select k.learning_id, bit_or(a.exact) as exact, bit_or(a.partial) as partial, bit_or(a.words) as words
from (select l.id, t.* from used u join unnest(%(labels)s::int[], %(sealed)s::bool[]) l (id, sealed) on l.id = u.id
      join unnest(%(blind)s::bool[], %(tokens)s::bigint[], %(exact)s::bigint[], %(partial)s::bigint[],
                  %(words)s::bigint[]) t (blind, token, exact, partial, words) on t.blind = l.sealed) a
cross join lateral (select k.learning_id from learning_key k where k.label_id = a.id and k.token = a.token
                    order by k.learning_id desc limit %(newest)s::int) k
group by k.learning_id
"""
_ORDER = (
    "bit_count({0}.exact::bit(64)) desc, bit_count(({0}.partial & ~{0}.exact)::bit(64)) desc,"
    " bit_count({0}.words::bit(64)) desc, {0}.learning_id desc"
)
_FIND = ended(f"""
with recursive {_USED}, hit as ({_HITS}),
     best as (select * from hit h order by {_ORDER.format("h")} limit %(best)s::int)
select {columns(Learning)}, {BYTES} as bytes from best b join learning r on r.id = b.learning_id {CLOCK}
where int4eq(r.team_id, %(team)s::int) and r.{VISIBLE}
  and (not %(exclude_own)s::bool or r.author_id <> %(own)s::uuid)
  and (%(signals)s::varchar[] is null or r.signal_type = any (%(signals)s::varchar[]))
order by {_ORDER.format("b")} limit %(limit)s::int
""")


def relevant(
    viewer: Viewer,
    context: Mapping[str, Any],
    *,
    text: str = "",
    exclude_own: bool = False,
    signals: Sequence[str] | None = None,
    limit: int,
    most_bytes: int,
) -> list[Relevant]:
    """Up to `limit` visible learnings that match `context` or `text` at all, the most relevant first.

    Reads up to about `most_bytes`, of those that match most. Ranked by the number of equal members of the context, then
    of similar ones, then of words; then what was tried (success, failure), then the newest. `signals`: only these
    types.
    """
    query = similarity.ask(context, text)
    masks = similarity.masks(query)
    labels = [label_by_id(label) for label in sorted(current().labels)]
    if not masks or not labels:
        return []
    tokens = [(False, token) for token in similarity.plain(masks)]
    meanings = list(masks.values())
    blinded = blind(viewer.team, masks) if any(label.is_sealed for label in labels) else None
    if blinded is not None:
        tokens += [(True, token) for token in blinded]
        meanings *= 2
    params = label_params(viewer) | {
        "labels": [label.id for label in labels],
        "sealed": [label.is_sealed for label in labels],
        "blind": [is_blind for is_blind, _ in tokens],
        "tokens": [token for _, token in tokens],
        "exact": [mask.exact for mask in meanings],
        "partial": [mask.partial for mask in meanings],
        "words": [mask.words for mask in meanings],
        "exclude_own": exclude_own,
        "own": viewer.membership,
        "signals": list(signals) if signals else None,
        "newest": _NEWEST,
        "best": _BEST,
        "limit": limit + _SPARE,
        "most_bytes": most_bytes,
    }
    found = fit(run(_FIND, params), most_bytes, partial(Stored, Learning))
    at = datetime.now(UTC)
    ranked = [_compare(query, row, at) for row in found]
    ranked = [one for one in ranked if one.matched]
    ranked.sort(key=lambda one: (one.relevance, one.row.id), reverse=True)
    return ranked[:limit]


def _compare(query: similarity.MatchQuery, row: Stored[Learning], at: datetime) -> Relevant:
    work.check()
    text = _text(row)
    found = similarity.compare(query, text.get("context") or {}, text.get("details"))
    matched_words = {word for pair in (*found.exact, *found.partial) for word in pair.words}
    matched = [ContextMatch("exact", key=pair.key) for pair in found.exact]
    matched += [ContextMatch("partial", key=pair.key) for pair in found.partial]
    matched += [ContextMatch("text", word=word) for word in found.words if word not in matched_words]
    days = max(0, (at - row.answer.created_at).days)
    newness = 0.5 ** (days / _HALF_LIFE_DAYS)
    worth = (1 + newness if row.answer.signal_type in _TRIED else newness) / 2.001
    relevance = _relevance(query, len(found.exact), len(found.partial), len(found.words), worth)
    return Relevant(row, relevance, tuple(matched))


def _relevance(query: similarity.MatchQuery, exact: int, partial: int, words: int, worth: float) -> float:
    """A mixed-radix number, which keeps the order: no number of words outweighs a pair. All equal: near 1."""
    pairs = len(query.pairs)
    below = (words + worth) / (len(query.words) + 1)
    most = pairs + 1 / (pairs + 1)
    return round((exact + (partial + below) / (pairs + 1)) / most, 4)


def _text(row: Stored[Learning]) -> dict[str, Any]:
    """The text, for comparison only: a read is recorded when a learning is shown."""
    if row.sealed is None:
        found: dict[str, Any] = msgspec.json.decode(row.body)
        return found
    return unseal("learning", row.id, row.label_id, bytes(row.sealed), row.text_version)
