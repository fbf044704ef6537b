"""Search: response schemas."""

from functools import cache
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from memoryhub.core.fields import Schema
from memoryhub.memory.kinds import KINDS
from memoryhub.memory.schemas.rows import one_of


class Matched(Schema):
    """What a row matches of a query: whole words (or other forms of them), phrases, and parts of its words.

    `meaning`: its similarity to the query's meaning, from 0 to 1, where it was found by that.
    """

    words: list[str]
    phrases: list[str]
    parts: list[str]
    meaning: float | UnsetType = UNSET


class Hit(Schema):
    """A row that was found. `highlights`: [start, end) of each match in the snippet, in Unicode code points.

    `relaxed`: it lacks a phrase of the query, and was found by the phrase's words; such hits come last. With `fields`,
    members that are not named are left out.
    """

    type: str  # one of the kinds
    id: UUID
    score: float
    matched: Matched | UnsetType = UNSET
    snippet: str | UnsetType = UNSET
    highlights: list[list[int]] | UnsetType = UNSET
    row: Any | UnsetType = UNSET  # of its kind
    relaxed: bool | UnsetType = UNSET


ALWAYS = ("type", "id", "score", "relaxed")  # members of a hit that are returned in any case


class Hits(Schema):
    """The best hits first; there is no further page.

    `more`: others match, beyond `limit` or the 8 MiB of an answer. `degraded`: search by meaning is configured, but
    unavailable now; these were found by words alone.
    """

    results: list[Hit]
    more: bool
    degraded: bool | UnsetType = UNSET


@cache
def hits_schema() -> type[msgspec.Struct]:
    """The schema of what a search returns, from the registered kinds."""
    found = [kind for kind in KINDS.values() if kind.searched]
    names = Annotated[str, one_of(*(kind.name for kind in found))]
    refs = [{"$ref": f"#/components/schemas/{kind.schema.__name__}"} for kind in found]
    row = Annotated[Any, Meta(extra_json_schema={"anyOf": refs})]
    hit: Any = msgspec.defstruct(
        "Hit", [("type", names), ("row", row | UnsetType, UNSET)], bases=(Hit,), namespace={"__doc__": Hit.__doc__}
    )
    return msgspec.defstruct("Hits", [("results", list[hit])], bases=(Hits,), namespace={"__doc__": Hits.__doc__})
