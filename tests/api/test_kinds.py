"""A kind of row is one entry: it turns up in search, package, context, timeline, counts and the description."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

import pytest

from agents.openapi.document import document
from escalations import schemas as escalation_schemas
from escalations.desk import timeline
from escalations.selectors import escalations
from memoryhub.core.models import Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory import models
from memoryhub.memory.kinds import KINDS, Kind, by_ids, register
from memoryhub.memory.schemas import context as context_schemas
from memoryhub.memory.schemas import search as search_schemas
from memoryhub.memory.schemas.rows import InText, Json, OfTask, Row
from tests.support import contract
from tests.support.api import Api, make_api
from tests.support.escalations import escalate
from tests.support.factories import make_person
from tests.support.labelled_world import LABELLED
from tests.support.searching import hits

DERIVED = (
    escalation_schemas.full_context_schema,
    escalation_schemas.page_schema,
    escalation_schemas.made_schema,
    context_schemas.context_schema,
    search_schemas.hits_schema,
)


class Remark(Row):
    """An observation with the tag `remark`, as a kind of its own."""

    task: OfTask
    content: Json

    model = models.Observation
    stands = "'remark' = any (r.tags)"


class Motto(Row):
    """One with the tag `motto`, of those that come first."""

    task: OfTask
    content: Annotated[str, InText(b'""')]

    model = models.Observation
    stands = "'motto' = any (r.tags)"


def forget() -> None:
    for schema in DERIVED:
        schema.cache_clear()


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The description that is checked in knows nothing of them.
    monkeypatch.setattr(contract, "hold", lambda *_: None)
    register(
        Kind(
            "remark",
            "remarks",
            Remark,
            searched=("content",),
            by_ids=by_ids(Remark),
            in_package=True,
            on_timeline=True,
            made_by="observation",
            withheld="observation",
        )
    )
    register(Kind("motto", "mottos", Motto, searched=("content",), by_ids=by_ids(Motto), in_words=True))
    forget()
    yield
    for name in ("remark", "motto"):
        KINDS.pop(name)
    forget()


@pytest.fixture
def row(api: Api) -> UUID:
    api.make("tasks", {"key": "t", "title": "T"})
    api.make("observations", {"task": "t", "content": "a xylophone", "tags": ["remark"]})
    api.make("observations", {"task": "t", "content": "a motto", "tags": ["motto"]})
    return escalate(api)


@pytest.mark.usefixtures("kinds")
def test_a_new_kind_turns_up_everywhere(team: Team, api: Api, row: UUID, owner_sql: Any) -> None:
    # The session's worker, which knows nothing of these kinds, may have been first.
    owner_sql.execute("update search_state set seq = 0 where team_id = %s", [team.id])
    assert [hit["type"] for hit in hits(api, "xylophone")] == ["remark"], "the index has a row once, as its last kind"
    assert [hit["row"]["content"] for hit in hits(api, "xylophone", types="remark")] == ["a xylophone"]
    full = api.get(f"escalations/{row}/package").data["full_context"]
    assert ([one["content"] for one in full["remarks"]], [one["content"] for one in full["mottos"]]) == (
        ["a xylophone"],
        ["a motto"],
    )
    assert [one["content"] for one in api.get("tasks/t/context").data["mottos"]] == ["a motto"]
    person = make_person(team)
    with viewer_transaction(person.viewer, read_only=True):
        found = escalations.escalation(person.viewer, row)
        items, _ = timeline.page(person.viewer, found, timeline.BEFORE, timeline.TimelineFilters())
        assert "remark" in {item.kind for item in items}
    assert "remark" in timeline.kinds()
    described = document()["components"]["schemas"]
    assert {"Remark", "Motto"} <= described.keys()
    assert "remarks" in described["FullContext"]["properties"]
    assert "mottos" in described["Context"]["properties"]
    assert "remark" in described["Hit"]["properties"]["type"]["enum"]


@pytest.mark.usefixtures("kinds")
def test_what_is_withheld_of_a_new_kind_is_counted(team: Team, api: Api, row: UUID) -> None:
    high, person = make_api(team, Sensitivity.CONFIDENTIAL), make_person(team)
    high.make("observations", {"task": "t", "content": "x", "sensitivity": "confidential"})
    high.make("learnings", {"task": "t", "signal_type": "pattern", "details": "x", "sensitivity": "confidential"})
    with viewer_transaction(person.viewer, read_only=True):
        found = escalations.escalation(person.viewer, row)
        found.seq += 10  # type: ignore[attr-defined]
        counted = escalations.withheld(person.viewer, found)
    assert counted == 3, "an observation, which is of two kinds here, and a learning"


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="already registered"):
        register(Kind("fact", "facts", Remark, searched=(), by_ids=by_ids(Remark)))


def test_every_kind_has_a_row_in_the_labelled_world() -> None:
    assert {kind.schema.model._meta.db_table for kind in KINDS.values()} <= set(LABELLED)
