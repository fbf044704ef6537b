"""A row's terms: those of its words, and those by which it can be filtered."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from memoryhub.core.ids import new_id
from memoryhub.core.readable import readable
from memoryhub.core.secrecy.blind_index import blind
from memoryhub.memory.search.query import Word
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.tokenizer import MAX_TERM, TermKind, Token, runs, tokens

# A long row becomes several documents of so many positions, each beginning with the last of the one before, so that a
# phrase is whole in one. Limits of a tsvector: positions up to 16383, 255 per word, 1 MiB in total.
PART, OVERLAP = 2_000, 32
MAX_BYTES = 400_000
MAX_KEPT = 20_000  # runs whose terms are kept
FILTER, BLIND = "=", "~"  # the first character of terms that are not words; no word begins with either


@dataclass(slots=True)
class Source:
    """A row of the memory, as the index takes it. `audience`: its only reader, when it is private."""

    id: UUID
    type: str
    label_id: int
    is_sealed: bool
    audience: UUID | None
    task_id: UUID | None
    author_id: UUID
    tags: list[str]
    importance: float | None
    created_at: datetime
    expires_at: datetime | None
    text: str


@dataclass(slots=True)
class Doc:
    """A row's terms, or those of a part of it, with their positions (none where it is sealed), its length in words, and
    its words' own forms. `part_of`: the row, where it is a further part.
    """

    source: Source
    id: UUID
    part_of: UUID | None = None
    terms: dict[str, list[int]] = field(default_factory=dict)
    length: int = 0
    forms: dict[str, str] = field(default_factory=dict)

    def vector(self) -> str:
        """As the text of a tsvector."""
        return " ".join(
            f"'{_escaped(term)}':{','.join(map(str, places))}" if places else f"'{_escaped(term)}'"
            for term, places in self.terms.items()
        )


def quoted(term: str) -> str:
    """A term as a lexeme of a tsquery."""
    return f"'{_escaped(term)}'"


def _escaped(term: str) -> str:
    return term if term.isalnum() else term.replace("\\", "\\\\").replace("'", "''")


def term_of(word: Token | Word, stem: Mapping[str, str | None]) -> str:
    """The term of a word of a row or a query: its stem, where it has one."""
    if word.kind is not TermKind.WORD:
        return word.text
    return stem[word.text] or by_stop_word(word.text)


def read(team: int, sources: Iterable[Source]) -> list[Doc]:
    """The documents of each row. The terms of a sealed one are keyed hashes of its words, without positions
    (core.secrecy).
    """
    found = [(source, runs(source.text)) for source in sources]
    known = _expanded({run for _, mine in found for run in mine})
    docs = [doc for source, mine in found for doc in _docs(source, mine, known)]
    for doc in docs:
        if doc.source.is_sealed:
            hashes = blind(team, (term for term in doc.terms if not is_stop_word(term)))
            doc.terms, doc.forms = {blinded(value): [] for value in hashes or ()}, {}
        doc.terms |= {term: [] for term in filters(doc.source)}
    return docs


class _Expansion(NamedTuple):
    """What a run adds to a document: its terms, each at its position from 1 on; their number without stop words; its
    words' own forms.
    """

    terms: tuple[tuple[str, int], ...]
    positions: int
    length: int
    forms: tuple[tuple[str, str], ...]


_kept: dict[str, _Expansion] = {}


def _expanded(wanted: set[str]) -> dict[str, _Expansion]:
    """The expansion of each run; one trip for all stems that are not known yet."""
    global _kept
    if len(_kept) > MAX_KEPT:
        _kept = {}  # a new one, since other threads may be reading this one
    kept = _kept
    found = {run: list(tokens(run)) for run in wanted - kept.keys()}
    stem = stems({token.text for mine in found.values() for token in mine if token.kind is TermKind.WORD})
    made = {run: _expand(mine, stem) for run, mine in found.items()}
    kept.update((run, expansion) for run, expansion in made.items() if len(run) <= MAX_TERM)
    return {run: made.get(run) or kept[run] for run in wanted}


def _expand(found: Sequence[Token], stem: Mapping[str, str | None]) -> _Expansion:
    named = [(term_of(token, stem), token) for token in found]
    return _Expansion(
        terms=tuple((term, token.position) for term, token in named),
        positions=max((token.position for token in found), default=0),
        length=sum(not is_stop_word(term) for term, _ in named),
        forms=tuple((token.text, term) for term, token in named if not (term == token.text or is_stop_word(term))),
    )


def _docs(source: Source, found: Sequence[str], known: Mapping[str, _Expansion]) -> Iterator[Doc]:
    """The documents of a row: one, or one for each PART of a long text."""
    at, doc = 0, Doc(source, source.id)
    while (end := _fill(doc, found, at, known)) < len(found):
        yield doc
        back = end
        while back > at + 1 and sum(known[run].positions for run in found[back:end]) < OVERLAP:
            back -= 1
        at, doc = back, Doc(source, new_id(), part_of=source.id)
    yield doc


def _fill(doc: Doc, found: Sequence[str], at: int, known: Mapping[str, _Expansion]) -> int:
    """Add runs to a document from `at` on, until it is full; the number of the next one."""
    terms, position, size = doc.terms, 0, 0
    for number in range(at, len(found)):
        run = known[found[number]]
        if position and (position + run.positions > PART or size > MAX_BYTES):
            return number
        for term, step in run.terms:
            places = terms.get(term)
            if places is None:
                terms[term] = [position + step]
                size += 4 * len(term)
            elif len(places) < 255:
                places.append(position + step)
        position += run.positions
        doc.length += run.length
        if run.forms:
            doc.forms.update(run.forms)
    return len(found)


def blinded(value: int) -> str:
    """A keyed hash as a term."""
    return f"{BLIND}{value & 0xFFFF_FFFF_FFFF_FFFF:x}"


def filters(source: Source) -> list[str]:
    """The terms by which a row is filtered."""
    made = [by_type(source.type), by_author(source.author_id), *map(by_tag, source.tags)]
    if source.task_id is not None:
        made.append(by_task(source.task_id))
    if source.importance is not None:
        made.append(by_importance(int(source.importance * 10)))
    return made


def by_stop_word(word: str) -> str:
    """The term of a stop word, which is searched for where a query has nothing else, and within phrases."""
    return f"{FILTER}s{word}"


def is_stop_word(term: str) -> bool:
    """Whether a term is that of a stop word."""
    return term.startswith(f"{FILTER}s")


def without_mark(term: str) -> str:
    """A word's term as it is written in texts."""
    return term.removeprefix(f"{FILTER}s")


def by_type(type: str) -> str:
    """The term of this type."""
    return f"{FILTER}y{type}"


def by_author(member: UUID) -> str:
    """The term of this author."""
    return f"{FILTER}a{member.hex}"


def by_task(task: UUID) -> str:
    """The term of this task."""
    return f"{FILTER}t{task.hex}"


def by_tag(tag: str) -> str:
    """The term of this tag."""
    return f"{FILTER}g{readable(tag).text}"


def by_importance(tenths: int) -> str:
    """The term of an importance from so many tenths to below the next."""
    return f"{FILTER}i{tenths:x}"
