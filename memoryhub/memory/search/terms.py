"""A row's terms: those of its words, and those by which it can be filtered."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from memoryhub.core.secrecy.blind_index import blind
from memoryhub.memory.search.query import Word
from memoryhub.memory.search.stems import stems
from memoryhub.memory.search.tokenizer import TermKind, Token, tokens

# Limits of a tsvector: positions up to 16383, 255 per word, 1 MiB in total.
MAX_POSITION = 16_383
MAX_BYTES = 400_000
PLACE = "\x01"  # stands for the cell in a query; occurs in no term
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
    """A row's terms with their positions (none where it is sealed), its length in words, and its words' own forms."""

    source: Source
    terms: dict[str, list[int]] = field(default_factory=dict)
    length: int = 0
    forms: dict[str, str] = field(default_factory=dict)

    def vector(self, cell: int) -> str:
        """As the text of a tsvector, each term prefixed with its cell."""
        return " ".join(
            f"{quoted(cell, term)}{':' if places else ''}{','.join(map(str, places))}"
            for term, places in self.terms.items()
        )


def quoted(cell: int | str, term: str) -> str:
    """A term of a cell as a lexeme of a tsvector or tsquery."""
    safe = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{cell if isinstance(cell, str) else f'{cell:x}:'}{safe}'"


def term_of(word: Token | Word, stem: dict[str, str | None]) -> str | None:
    """The term of a word of a row or a query; None for a stop word."""
    return stem[word.text] if word.kind is TermKind.WORD else word.text


def read(team: int, sources: Iterable[Source]) -> list[Doc]:
    """The terms of each row. Of a sealed row they are keyed hashes of its words, without positions (core.secrecy)."""
    found = [(source, list(takewhile(_is_placed, tokens(source.text)))) for source in sources]
    stem = stems({token.text for _, run in found for token in run if token.kind is TermKind.WORD})
    return [_doc(team, source, run, stem) for source, run in found]


def _is_placed(token: Token) -> bool:
    return token.position <= MAX_POSITION


def _doc(team: int, source: Source, run: list[Token], stem: dict[str, str | None]) -> Doc:
    doc = Doc(source)
    size = 0
    for token in run:
        term = term_of(token, stem)
        if not term:
            continue
        places = doc.terms.setdefault(term, [])
        if not places:
            size += len(term.encode())
            if size > MAX_BYTES:
                del doc.terms[term]
                break
            if term != token.text:
                doc.forms[token.text] = term
        if len(places) < 255:
            places.append(token.position)
        doc.length += 1
    if source.is_sealed:
        hashes = blind(team, doc.terms)
        doc.terms = {blinded(value): [] for value in hashes or ()}
        doc.forms = {}
    doc.terms |= {term: [] for term in filters(source)}
    return doc


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
    """The term of this tag, without the character that stands for a cell."""
    return f"{FILTER}g{tag}".replace(PLACE, "")


def by_importance(tenths: int) -> str:
    """The term of an importance from so many tenths to below the next."""
    return f"{FILTER}i{tenths:x}"


def counted(docs: Iterable[Doc]) -> Counter[str]:
    """Term -> the number of documents that have it."""
    return Counter(term for doc in docs for term in doc.terms)
