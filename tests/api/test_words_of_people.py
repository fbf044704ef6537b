"""What people answer and note is memory: in context, search and the next package, for whom it is meant and not before.

Notes for people alone, and what was decided and not handed back, are seen by no agent on any path.
"""

import json
from typing import Any
from uuid import UUID

import pytest

from escalations.actions import answers, claims, notes
from escalations.models import Answer, Audience, Note
from memoryhub.core.models import Event, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.live.reader import LiveEvent, read_events, read_head
from memoryhub.memory.search.rebuild import rebuild
from tests.support.api import Api, make_api
from tests.support.escalations import escalate
from tests.support.factories import Person, make_person
from tests.support.searching import ask, hits

SAID, DONE, NOTED, SECRET = "Refund zinnia now", "Called quince today", "Watch the marigold", "The hydrangea is ours"


@pytest.fixture
def other(team: Team) -> Api:
    """Another agent of the team."""
    return make_api(team)


@pytest.fixture
def row(api: Api) -> UUID:
    api.make("tasks", {"key": "t", "title": "T"})
    return escalate(api)


def decide(person: Person, row: UUID, *, hand_back: bool = True) -> None:
    claims.claim(person.viewer, escalation_id=row)
    notes.note(person.viewer, escalation_id=row, text=NOTED, audience=Audience.EVERYONE)
    notes.note(person.viewer, escalation_id=row, text=SECRET, audience=Audience.PEOPLE)
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message=SAID, done=DONE, hand_back=hand_back)


def everything(api: Api, row: UUID) -> str:
    """All that an agent can read of the task and the team, as text."""
    assert api.agent is not None
    paths = ["tasks/t/context?budget=100000", "observations", "decisions", "learnings", "facts"]
    paths += [f"escalations/{row}{rest}" for rest in ("", "/package", "/notes")]
    found = [api.get(path) for path in paths]
    found += [ask(api, word) for word in ("zinnia", "quince", "marigold", "hydrangea", "note")]
    assert {reply.status for reply in found} == {200}
    viewer = api.agent.viewer
    live = [event for event in events_of(system_viewer(viewer.team)) if event.is_for(viewer)]
    assert live == events_of(viewer), "the same live as from the ledger"
    return json.dumps([reply.data for reply in found]) + str(live)


def events_of(viewer: Viewer) -> list[LiveEvent]:
    return read_events(viewer, 0, read_head(viewer))[0]


def test_after_the_hand_back_agents_read_what_the_person_said(api: Api, other: Api, person: Person, row: UUID) -> None:
    decide(person, row)
    for reader in (api, other):
        context = reader.get("tasks/t/context").data
        assert [(one["message"], one["done"], one["author"]) for one in context["answers"]] == [
            (SAID, DONE, person.membership.name)
        ]
        assert [one["text"] for one in context["notes"]] == [NOTED]
        (hit,) = hits(reader, "zinnia")
        assert (hit["type"], hit["row"]["message"], hit["row"]["task"]) == ("answer", SAID, "t")
        assert [hit["row"]["text"] for hit in hits(reader, "marigold", types="note")] == [NOTED]
        assert [one["text"] for one in reader.results(f"escalations/{row}/notes")] == [NOTED]
    again = escalate(api)
    full = other.get(f"escalations/{again}/package").data["full_context"]
    assert ([one["message"] for one in full["answers"]], [one["text"] for one in full["notes"]]) == ([SAID], [NOTED])
    first = api.get(f"escalations/{row}/package").data["full_context"]
    assert (first["answers"], first["notes"]) == ([], []), "a package is the memory as it froze"


def test_what_was_decided_for_one_agent_is_no_word_for_others(api: Api, other: Api, person: Person, row: UUID) -> None:
    decide(person, row)
    for reader in (api, other):
        (said,) = reader.get("tasks/t/context").data["answers"]
        assert not {"verdict", "decision", "arguments", "action"} & said.keys()


def test_before_the_hand_back_no_agent_reads_it_and_then_all_do(
    api: Api, other: Api, person: Person, row: UUID
) -> None:
    decide(person, row, hand_back=False)
    for reader in (api, other):
        read = everything(reader, row)
        assert "zinnia" not in read
        assert "quince" not in read
        assert "marigold" in read  # the control: a note for agents is no verdict
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True):
            assert not Answer.objects.exists(), "hidden by the database, too"
    answers.hand_back(person.viewer, escalation_id=row)
    assert "zinnia" in everything(other, row)


def test_a_note_for_people_is_seen_by_no_agent_on_any_path(
    team: Team, api: Api, other: Api, person: Person, row: UUID
) -> None:
    decide(person, row)
    with viewer_transaction(person.viewer, read_only=True):
        note = Note.objects.get(audience=Audience.PEOPLE, escalation_id=row).id
    for reader in (api, other):
        read = everything(reader, row)
        assert "hydrangea" not in read
        assert str(note) not in read, "nor is it known that there is one"
        assert reader.agent is not None
        with viewer_transaction(reader.agent.viewer, read_only=True):
            assert list(Note.objects.values_list("audience", flat=True)) == ["everyone"]
            assert Event.objects.filter(type="escalation.note").count() == 1
    colleague = make_person(team)
    with viewer_transaction(colleague.viewer, read_only=True):  # the control: people see both
        assert Note.objects.count() == 2
        assert Event.objects.filter(type="escalation.note").count() == 2


def test_a_withdrawn_answer_is_never_memory(api: Api, person: Person, row: UUID) -> None:
    decide(person, row, hand_back=False)
    claims.release(person.viewer, escalation_id=row)
    assert "zinnia" not in everything(api, row)
    claims.claim(person.viewer, escalation_id=row)
    answers.decide(person.viewer, escalation_id=row, verdict="respond", message="The other one")
    assert [one["message"] for one in api.get("tasks/t/context").data["answers"]] == ["The other one"]


def test_the_work_that_a_person_did_and_why_it_was_cancelled_are_memory(
    api: Api, other: Api, person: Person, row: UUID
) -> None:
    claims.claim(person.viewer, escalation_id=row)
    answers.finish(person.viewer, escalation_id=row, done=DONE)
    assert [one["done"] for one in other.get("tasks/t/context").data["answers"]] == [DONE]
    api.make("tasks", {"key": "u", "title": "U"})
    asked = escalate(api, task="u")
    answers.cancel(person.viewer, escalation_id=asked, reason="No longer due")
    assert [one["message"] for one in other.get("tasks/u/context").data["answers"]] == ["No longer due"]


def test_a_confidential_answer_is_for_those_who_are_cleared(team: Team, api: Api, person: Person) -> None:
    high, lead = make_api(team, Sensitivity.CONFIDENTIAL), make_person(team, clearance=Sensitivity.CONFIDENTIAL)
    high.make("tasks", {"key": "t", "title": "T", "sensitivity": "confidential"})
    row = escalate(high)
    decide(lead, row)
    assert high.get("tasks/t/context").data["answers"][0]["message"] == SAID
    assert [hit["type"] for hit in hits(high, "zinnia")] == ["answer"]
    assert hits(api, "zinnia") == []
    assert api.get(f"escalations/{row}/notes").status == 404


def test_what_people_said_takes_a_quarter_of_the_budget_and_comes_first(api: Api, person: Person, row: UUID) -> None:
    claims.claim(person.viewer, escalation_id=row)
    for number in range(30):
        notes.note(person.viewer, escalation_id=row, text=f"{number} {'x' * 200}", audience=Audience.EVERYONE)
    for number in range(30):
        api.make("observations", {"task": "t", "content": f"{number} {'y' * 200}"})
    context = api.get("tasks/t/context?budget=4000").data
    taken = sum(-(-len(json.dumps(one, separators=(",", ":"))) // 3) for one in context["notes"])
    assert 0 < taken <= 1000
    assert context["left_out"]["notes"]["count"] == 30 - len(context["notes"])
    assert len(context["observations"]) > len(context["notes"])


def test_the_index_made_anew_has_them(team: Team, api: Api, person: Person, row: UUID) -> None:
    decide(person, row)
    before = [hits(api, word) for word in ("zinnia", "marigold", "hydrangea")]
    rebuild(team.id)
    assert [hits(api, word) for word in ("zinnia", "marigold", "hydrangea")] == before
    assert [len(found) for found in before] == [1, 1, 0]


def test_notes_are_paged(api: Api, person: Person, row: UUID) -> None:
    for number in range(5):
        notes.note(person.viewer, escalation_id=row, text=str(number), audience=Audience.EVERYONE)
    texts: list[Any] = []
    page = api.get(f"escalations/{row}/notes?limit=2").data
    while True:
        texts += [one["text"] for one in page["results"]]
        if page["next"] is None:
            break
        page = api.get(page["next"].removeprefix("/api/v1/")).data
    assert texts == ["4", "3", "2", "1", "0"]
