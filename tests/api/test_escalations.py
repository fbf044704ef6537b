"""Asking for a person over the API: what is made, what the package holds, who sees it, how it ends."""

import re
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from escalations.actions import claims
from memoryhub.core.models import Role, Sensitivity, Team
from tests.support.api import Api, Reply, at_once, make_api
from tests.support.escalations import ACTION
from tests.support.factories import Person, make_person

pytestmark = pytest.mark.usefixtures("task")

CONFIDENTIAL = Sensitivity.CONFIDENTIAL
ASKED = {"task": "t", "reason_code": "policy_exception", "reason": "Late by a day.", "question": "Refund anyway?"}


def escalate(api: Api, **fields: Any) -> Reply:
    return api.post("escalations", {**ASKED, **fields})


# Asked


def test_escalate_answers_the_row_with_its_package(api: Api) -> None:
    seen = api.make("observations", {"content": "x", "task": "t"})
    decided = api.make("decisions", {"task": "t", "decision": "y", "reasoning": "z"})
    reply = escalate(
        api, allowed=["approve", "edit", "reject"], action=ACTION, recommendation="Approve.", priority="urgent"
    )
    assert reply.status == 201
    expected = {
        **ASKED,
        "state": "queued",
        "version": 1,
        "allowed": ["approve", "edit", "reject"],
        "action": {**ACTION, "schema": None},
        "recommendation": "Approve.",
        "priority": "urgent",
        "queue": "default",
        "owner": None,
        "assigned_to": None,
        "author": api.name,
        "sensitivity": "internal",
    }
    assert reply.data.items() >= expected.items()
    package = reply.data["package"]
    assert package["escalated_by_agent"] == api.name
    assert (package["reason"], package["task_id"], package["as_of"]) == (ASKED["reason"], "t", reply.data["seq"])
    assert package["escalation_time"] == reply.data["created_at"]
    context = package["full_context"]
    assert [row["id"] for row in context["observations"]] == [seen["id"]]
    assert [row["id"] for row in context["decisions"]] == [decided["id"]]
    assert (context["facts"], context["learnings"], context["status"]) == ([], [], "queued")
    assert "withheld" not in package  # agents are never told
    assert api.get("tasks/t").data["status"] == "escalated"

    one = api.get(f"escalations/{reply.data['id']}")
    assert one.data == {key: value for key, value in reply.data.items() if key != "package"}
    assert re.fullmatch(f'"{reply.data["id"]}[.]1[.][0-9a-f]{{8}}"', one.headers["ETag"])


def test_what_is_not_said_has_its_default(api: Api) -> None:
    made = escalate(api).data
    assert (made["allowed"], made["priority"], made["action"]) == (["respond"], "normal", None)


def test_a_task_has_at_most_one_open(team: Team, api: Api) -> None:
    first = escalate(api).data
    other = make_api(team)
    second = escalate(other, reason="Another reason.", question="Another question?", priority="urgent")
    assert (second.status, second.data["id"]) == (200, first["id"])
    assert (second.data["reason"], second.data["priority"]) == (ASKED["reason"], "normal")
    assert len(api.results("escalations")) == 1
    assert notes(team, first["id"]) == ["Another reason.\n\nAnother question?"]


def notes(team: Team, escalation: str) -> list[str]:
    from escalations.models import Note
    from memoryhub.core.secrecy.sealing import read_text
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.core.viewers import system_viewer

    with viewer_transaction(system_viewer(team.id), read_only=True):
        return [read_text(note)["text"] for note in Note.objects.filter(escalation_id=escalation).order_by("id")]


def test_a_repeated_client_ref_adds_nothing(team: Team, api: Api) -> None:
    first = escalate(api, client_ref="r").data
    again = escalate(api, client_ref="r")
    assert (again.status, again.data) == (200, first)
    assert notes(team, first["id"]) == []
    # It is the first one's for good, whatever became of it.
    api.make(f"escalations/{first['id']}/cancel", {"reason": "Solved."})
    assert escalate(api, client_ref="r").data["id"] == first["id"]
    assert escalate(api).status == 201


def test_of_several_at_once_one_is_made_and_the_others_are_notes(team: Team, api: Api) -> None:
    got = at_once(*(partial(escalate, make_api(team)) for _ in range(4)))
    assert sorted(reply.status for reply in got) == [200, 200, 200, 201]
    assert len({reply.data["id"] for reply in got}) == 1
    assert len(notes(team, got[0].data["id"])) == 3


def test_allowed_and_action_must_fit(api: Api) -> None:
    wrong: list[dict[str, Any]] = [
        {"allowed": []},
        {"allowed": ["finish"]},
        {"allowed": ["respond", "nope"]},
        {"allowed": ["approve"]},
        {"allowed": ["respond", "edit"]},
        {"allowed": "respond"},
        {"action": {"name": "x"}},
        {"action": {"name": "x", "arguments": {}, "nope": 1}},
        {"action": {"name": "x", "arguments": {}, "schema": {"type": "nope"}}},
        {"action": {"name": "x", "arguments": {}, "schema": {"properties": {"a": 1}}}},
        {"reason_code": "nope"},
        {"priority": "URGENT"},
        {"priority": 3},
        {"question": " "},
        {"reason": "\u200b"},
    ]
    replies = [escalate(api, **fields) for fields in wrong]
    assert [reply.status for reply in replies] == [400] * len(wrong)
    assert api.results("escalations") == []
    assert api.get("tasks/t").data["status"] == "open"


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"properties": {"amount": {"$ref": "https://example.com/schema.json"}}},
        {"$dynamicRef": "http://127.0.0.1:9/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
    ],
)
def test_a_schema_that_cannot_be_held_against_arguments_is_refused(api: Api, schema: dict[str, Any]) -> None:
    action = {**ACTION, "schema": schema}
    reply = escalate(api, allowed=["edit"], action=action)
    assert reply.refusal == (400, "invalid")
    assert reply.data["errors"][0]["pointer"].startswith("/action/schema")


def test_a_schema_may_refer_to_itself(api: Api) -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}, "amount": {"$ref": "#/$defs/money"}}}
    schema = {**tree, "$defs": {"money": {"type": "number"}}}
    assert escalate(api, allowed=["edit"], action={**ACTION, "schema": schema}).status == 201


def test_what_is_over_cannot_be_escalated(api: Api) -> None:
    api.make("tasks/t/complete", {"token": api.make("tasks/t/claim")["token"]})
    assert escalate(api).refusal == (409, "wrong_state")
    assert escalate(api, task="none").refusal == (404, "not_found")


def test_assigned_to_must_be_somebody_who_can_take_it(team: Team, api: Api, person: Person) -> None:
    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    reader = make_person(team, Role.READER)
    refused = [escalate(high, task="s", assigned_to=name) for name in (person.name, high.name, reader.name, "nobody")]
    assert [reply.refusal for reply in refused] == [(422, "not_allowed")] * 4
    assert len({reply.data["detail"].split(" ", 1)[1] for reply in refused}) == 1
    assert high.results("escalations") == []
    assert escalate(api, assigned_to=person.name).data["assigned_to"] == person.name


# The package


def test_the_package_is_the_memory_acknowledged_before(team: Team, api: Api) -> None:
    other = make_api(team)
    before: dict[str, list[str]] = {"observations": [], "decisions": []}
    for number in range(3):
        who = (api, other)[number % 2]
        before["observations"].insert(0, who.make("observations", {"content": str(number), "task": "t"})["id"])
        before["decisions"].insert(0, who.make("decisions", {"task": "t", "decision": "d", "reasoning": "r"})["id"])
    made = escalate(api).data
    for later in ("observations", "decisions"):
        body = {"task": "t", "content": "later"} if later == "observations" else None
        api.make(later, body or {"task": "t", "decision": "later", "reasoning": "r"})
    api.make("tasks", {"key": "u", "title": "U"})
    api.make("observations", {"content": "elsewhere", "task": "u"})
    package = api.get(f"escalations/{made['id']}/package").data
    for name, ids in before.items():
        assert [row["id"] for row in package["full_context"][name]] == ids
        rows = {row["id"]: row for row in api.results(name)}
        assert all(row == rows[row["id"]] for row in package["full_context"][name])
    assert package["next"] is None
    # A second request shows the same frozen package.
    assert escalate(api).data["package"]["full_context"]["observations"] == package["full_context"]["observations"]


def test_the_package_is_paged(api: Api) -> None:
    ids = []
    for number in range(3):
        ids.append(api.make("observations", {"content": str(number), "task": "t"})["id"])
        ids.append(api.make("decisions", {"task": "t", "decision": "d", "reasoning": "r"})["id"])
    made = escalate(api).data["id"]
    pages, address = [], f"escalations/{made}/package?limit=4"
    while address:
        part = api.get(address).data
        pages.append(part)
        address = part["next"]

    def rows(part: Any) -> set[str]:
        context = part["full_context"]
        return {row["id"] for row in [*context["observations"], *context["decisions"]]}

    assert [rows(part) for part in pages] == [set(ids[2:]), set(ids[:2])]
    assert rows(api.get(pages[1]["previous"]).data) == set(ids[2:])


def test_the_package_of_another_agent_has_no_private_rows(team: Team, api: Api) -> None:
    api.make("observations", {"content": "reasoning", "task": "t", "private": True})
    made = escalate(api).data
    other = make_api(team)
    assert len(made["package"]["full_context"]["observations"]) == 1
    assert other.get(f"escalations/{made['id']}/package").data["full_context"]["observations"] == []


def test_the_package_withholds_what_is_above_the_reader(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    high.make("observations", {"content": "high", "task": "t", "sensitivity": "confidential"})
    made = escalate(api).data["id"]
    assert api.get(f"escalations/{made}/package").data["full_context"]["observations"] == []
    (row,) = high.get(f"escalations/{made}/package").data["full_context"]["observations"]
    assert row["content"] == "high"


def test_people_are_told_how_much_is_withheld(team: Team, api: Api, person: Person) -> None:
    from escalations.selectors import escalations
    from memoryhub.core.transactions import viewer_transaction

    high = make_api(team, CONFIDENTIAL)
    high.make("observations", {"content": "high", "task": "t", "sensitivity": "confidential"})
    high.make("observations", {"content": "mine", "task": "t", "sensitivity": "confidential", "private": True})
    made = escalate(api).data["id"]
    high.make("observations", {"content": "later", "task": "t", "sensitivity": "confidential"})
    for who, count in ((person, 1), (make_person(team, clearance=CONFIDENTIAL), 0)):
        with viewer_transaction(who.viewer, read_only=True):
            row = escalations.escalation(who.viewer, UUID(made))
            assert escalations.package(who.viewer, row, most_bytes=2**20).withheld == count


# Lists, and who sees what


def test_list_filters(team: Team, api: Api) -> None:
    api.make("tasks", {"key": "u", "title": "U"})
    first, second = escalate(api).data["id"], escalate(api, task="u").data["id"]
    api.make(f"escalations/{first}/cancel", {"reason": "Solved."})

    def found(query: str) -> list[str]:
        return [row["id"] for row in api.results(f"escalations?{query}")]

    assert found("") == [second, first]
    assert found("task=t") == [first]
    assert found("state=cancelled") == [first]
    assert found("state=queued&task=t") == []
    page = api.get("escalations?limit=1").data
    assert [row["id"] for row in api.get(page["next"]).data["results"]] == [first]
    assert api.get("escalations?task=none").status == 404
    assert api.get("escalations?state=nope").status == 400


def test_a_confidential_one_is_404_to_low_readers_everywhere(team: Team, api: Api, person: Person) -> None:
    from escalations.actions import answers, notes
    from escalations.selectors import escalations
    from memoryhub.core.errors import NotFound
    from memoryhub.core.transactions import viewer_transaction

    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    made = escalate(high, task="s", allowed=["approve"], action=ACTION).data["id"]
    none = "0198c0de-0000-7000-8000-000000000000"
    for path, body in (
        ("", None),
        ("/package", None),
        ("/acknowledge", {}),
        ("/cancel", {"reason": "x"}),
    ):
        replies = [
            api.get(f"escalations/{row}{path}") if body is None else api.post(f"escalations/{row}{path}", body)
            for row in (made, none)
        ]
        assert [reply.refusal for reply in replies] == [(404, "not_found")] * 2
        hidden, absent = ({key: value for key, value in reply.data.items() if key != "request_id"} for reply in replies)
        assert hidden == absent
    assert api.results("escalations") == []
    assert api.get("escalations?task=s").refusal == escalate(api, task="s").refusal == (404, "not_found")

    row = UUID(made)
    for refused in (
        partial(claims.claim, person.viewer, escalation_id=row),
        partial(claims.release, person.viewer, escalation_id=row),
        partial(claims.keep, person.viewer, escalation_id=row),
        partial(notes.note, person.viewer, escalation_id=row, text="x"),
        partial(answers.decide, person.viewer, escalation_id=row, verdict="approve"),
        partial(answers.finish, person.viewer, escalation_id=row, done="x"),
        partial(answers.cancel, person.viewer, escalation_id=row, reason="x"),
    ):
        with pytest.raises(NotFound):
            refused()
    assert claims.next_free(person.viewer) is None
    with viewer_transaction(person.viewer, read_only=True):
        assert list(escalations.escalations(person.viewer)) == []
        with pytest.raises(NotFound):
            escalations.answer_of(person.viewer, row)
    cleared = make_person(team, clearance=CONFIDENTIAL)
    assert claims.claim(cleared.viewer, escalation_id=row).state == "claimed"


def test_an_agent_cancels_only_its_own(team: Team, api: Api) -> None:
    made = escalate(api).data["id"]
    assert make_api(team).post(f"escalations/{made}/cancel", {"reason": "x"}).refusal == (409, "not_owner")
    reply = api.post(f"escalations/{made}/cancel", {"reason": "The customer called back."})
    assert (reply.data["state"], reply.data["version"]) == ("cancelled", 2)
    assert api.post(f"escalations/{made}/cancel", {"reason": "x"}).refusal == (409, "wrong_state")
    assert api.post(f"escalations/{made}/acknowledge").refusal == (409, "wrong_state")
    assert api.get("tasks/t").data["status"] == "open"
