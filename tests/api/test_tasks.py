import re
from functools import partial

import pytest

from escalations.actions import claims
from memoryhub.core.models import Sensitivity, Team
from tests.support.api import Api, at_once, make_api
from tests.support.factories import Person

CONFIDENTIAL = Sensitivity.CONFIDENTIAL


def keys(api: Api, query: str) -> list[str]:
    return [row["key"] for row in api.results(f"tasks?{query}")]


def make_tasks(api: Api, *names: str, **fields: object) -> None:
    for name in names:
        api.make("tasks", {"key": name, "title": f"Task {name}", **fields})


def escalate(api: Api, task: str) -> str:
    asked = {"task": task, "reason_code": "other", "reason": "No rule.", "question": "What now?"}
    made: str = api.make("escalations", asked)["id"]
    return made


# Made and found


def test_create_answers_the_row_with_its_etag(api: Api) -> None:
    body = {"key": "order:1@x~y.z_-", "title": "Refund", "requester": "Ada", "metadata": {"order": [1, None]}}
    reply = api.post("tasks", {**body, "client_ref": "ref-1"})
    assert reply.status == 201
    assert reply.data.items() >= {**body, "client_ref": "ref-1", "status": "open", "version": 1}.items()
    expected = {"author": api.name, "sensitivity": "internal", "compartments": [], "reopen_count": 0, "outcome": None}
    assert reply.data.items() >= expected.items()
    assert reply.data["in_progress"] is False
    assert reply.data["lease"] is None
    assert reply.data["seq"] > 0
    assert re.fullmatch(f'"{reply.data["id"]}[.]1[.][0-9a-f]{{8}}"', reply.headers["ETag"])
    again = api.get("tasks/order:1@x~y.z_-")
    assert (again.status, again.data, again.headers["ETag"]) == (200, reply.data, reply.headers["ETag"])


def test_the_same_key_is_answered_with_the_existing_task(team: Team, api: Api) -> None:
    first = api.make("tasks", {"key": "t", "title": "First"})
    reply = make_api(team).post("tasks", {"key": "t", "title": "Second"})
    assert (reply.status, reply.data) == (200, first)
    assert keys(api, "") == ["t"]


def test_the_same_client_ref_is_answered_with_the_first_task(api: Api) -> None:
    first = api.make("tasks", {"key": "a", "title": "A", "client_ref": "r"})
    reply = api.post("tasks", {"key": "b", "title": "B", "client_ref": "r"})
    assert (reply.status, reply.data["id"]) == (200, first["id"])
    assert keys(api, "") == ["a"]


def test_the_name_of_a_verb_is_no_key(api: Api) -> None:
    """A task of this key could not be read: GET /tasks/claim-next is the verb's address."""
    reply = api.post("tasks", {"key": "claim-next", "title": "T"})
    assert reply.refusal == (400, "invalid")
    assert [(error["pointer"], error["code"]) for error in reply.data["errors"]] == [("/key", "bad_format")]


def test_absent_is_404(api: Api) -> None:
    assert api.get("tasks/none").refusal == (404, "not_found")
    for verb in ("claim", "renew", "release", "complete", "fail"):
        assert api.post(f"tasks/none/{verb}", {"token": 1} if verb != "claim" else {}).refusal == (404, "not_found")
    assert api.post("tasks/none/reopen", {"reason": "x"}).refusal == (404, "not_found")
    assert api.patch("tasks/none", {"title": "x"}, '"0198c0de-0000-7000-8000-000000000000.1"').status == 404


def test_a_label_above_ones_own_is_refused(api: Api) -> None:
    for label in ({"sensitivity": "confidential"}, {"compartments": ["finance"]}):
        assert api.post("tasks", {"key": "t", "title": "T", **label}).refusal == (403, "forbidden")
    assert keys(api, "") == []


def test_one_of_clearance_public_makes_public_tasks(team: Team) -> None:
    low = make_api(team, Sensitivity.PUBLIC)
    assert low.make("tasks", {"key": "t", "title": "T"})["sensitivity"] == "public"


# Twins: one key under several labels


def test_a_key_names_the_visible_twin_whose_label_dominates(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    low_row = api.make("tasks", {"key": "t", "title": "Low"})
    reply = high.post("tasks", {"key": "t", "title": "High", "sensitivity": "confidential"})
    assert reply.status == 201
    assert high.get("tasks/t").data["title"] == "High"
    assert high.get("tasks/t?label=internal").data == low_row
    assert api.get("tasks/t").data == low_row
    assert api.get("tasks/t?label=confidential").refusal == (404, "not_found")
    # Made again without a label: the one that the key names.
    assert high.post("tasks", {"key": "t", "title": "x"}).data["title"] == "High"


def test_a_hidden_task_does_not_stand_in_the_way_of_its_key(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "t", "title": "High", "sensitivity": "confidential"})
    assert api.post("tasks", {"key": "t", "title": "Low"}).status == 201


def test_twins_of_which_none_dominates_are_ambiguous(team: Team) -> None:
    both = make_api(team, CONFIDENTIAL, ["finance", "pii"])
    for word in ("finance", "pii"):
        both.make("tasks", {"key": "t", "title": word, "sensitivity": "internal", "compartments": [word]})
    labels = ["internal+finance", "internal+pii"]
    etag = both.get("tasks/t?label=internal%2Bpii").headers["ETag"]
    refused = [
        both.get("tasks/t"),
        both.post("tasks", {"key": "t", "title": "x"}),
        both.post("tasks/t/claim"),
        both.patch("tasks/t", {"title": "x"}, etag),
        both.post("observations", {"task": "t", "content": "x"}),
        both.post("decisions", {"task": "t", "decision": "x", "reasoning": "y"}),
    ]
    assert [reply.refusal for reply in refused] == [(409, "ambiguous_key")] * len(refused)
    assert all(reply.data["labels"] == labels for reply in refused)
    assert both.get("tasks/t?label=internal+finance").data["title"] == "finance"  # a plus that was not encoded
    assert both.patch("tasks/t?label=internal%2Bpii", {"title": "changed"}, etag).data["title"] == "changed"
    assert both.post("tasks/t/claim?label=internal%2Bfinance").status == 200
    assert make_api(team, CONFIDENTIAL, ["pii"]).get("tasks/t").data["title"] == "changed"


# Lists


def test_list_filters(team: Team, api: Api) -> None:
    other = make_api(team)
    make_tasks(api, "a", "b", "c")
    api.make("tasks", {"key": "d", "title": "50% off_now"})
    other.make("tasks/b/claim")
    assert keys(api, "") == ["d", "c", "b", "a"]
    assert keys(api, "status=in_progress") == ["b"]
    assert keys(api, f"held_by={other.name}") == ["b"]
    assert keys(api, f"held_by={api.name}") == []
    assert keys(api, "q=TASK") == ["c", "b", "a"]
    assert keys(api, "q=%25") == ["d"]  # not a wildcard
    assert keys(api, "q=f_n") == ["d"]
    assert keys(api, "q='") == []
    assert keys(api, "status=open&q=a") == ["c", "a"]


def test_q_never_finds_by_sealed_text(team: Team) -> None:
    high = make_api(team, CONFIDENTIAL)
    make_tasks(high, "secret-key", sensitivity="confidential")
    assert keys(high, "q=Task") == []
    assert keys(high, "q=secret") == ["secret-key"]


def test_pages_neither_skip_nor_repeat(api: Api) -> None:
    make_tasks(api, *"abcde")
    first = api.get("tasks?limit=2")
    assert [row["key"] for row in first.data["results"]] == ["e", "d"]
    assert first.data["previous"] is None
    assert 'rel="next"' in first.headers["Link"]
    make_tasks(api, "f")
    second = api.get(first.data["next"]).data
    assert [row["key"] for row in second["results"]] == ["c", "b"]
    third = api.get(second["next"]).data
    assert ([row["key"] for row in third["results"]], third["next"]) == (["a"], None)
    assert api.get(third["previous"]).data["results"] == second["results"]
    back = api.get(second["previous"]).data
    assert [row["key"] for row in back["results"]] == ["e", "d"]
    assert [row["key"] for row in api.get(back["previous"]).data["results"]] == ["f"]


# Changed


def test_patch_changes_what_it_names(api: Api) -> None:
    made = api.post("tasks", {"key": "t", "title": "T", "requester": "Ada", "metadata": {"a": 1}})
    reply = api.patch("tasks/t", {"title": "New"}, made.headers["ETag"])
    assert reply.status == 200
    assert reply.data == {**made.data, "title": "New", "version": 2}
    assert re.fullmatch(f'"{made.data["id"]}[.]2[.][0-9a-f]{{8}}"', reply.headers["ETag"])
    for status in ("blocked", "open", "cancelled"):
        reply = api.patch("tasks/t", {"status": status}, reply.headers["ETag"])
        assert reply.data["status"] == status
    assert api.patch("tasks/t", {"status": "open"}, reply.headers["ETag"]).refusal == (409, "wrong_state")


def test_patch_of_a_sealed_task_keeps_the_rest(team: Team) -> None:
    high = make_api(team, CONFIDENTIAL)
    made = high.post(
        "tasks", {"key": "t", "title": "T", "metadata": {"a": 1}, "sensitivity": "confidential", "requester": "Ada"}
    )
    reply = high.patch("tasks/t", {"title": "New"}, made.headers["ETag"])
    assert reply.data == {**made.data, "title": "New", "version": 2}


def test_patch_preconditions(api: Api) -> None:
    etag = api.post("tasks", {"key": "t", "title": "T"}).headers["ETag"]
    other = api.post("tasks", {"key": "u", "title": "U"}).headers["ETag"]
    assert api.patch("tasks/t", {"title": "x"}).refusal == (428, "precondition_required")
    for bad in ("*", "x", etag.strip('"'), f"W/{etag}", f"{etag}, {other}", ""):
        assert api.patch("tasks/t", {"title": "x"}, bad).refusal == (400, "invalid")
    assert api.patch("tasks/t", {"title": "x"}, other).refusal == (412, "precondition_failed")
    assert api.patch("tasks/t", {"title": "New"}, etag).status == 200
    stale = api.patch("tasks/t", {"title": "x"}, etag)
    assert stale.refusal == (412, "precondition_failed")
    assert stale.data["current"] == api.get("tasks/t").data
    # A wrong body is refused before states are looked at.
    assert api.patch("tasks/t", {"nope": 1}, etag).status == 400


# Leases


def test_the_life_of_a_lease(team: Team, api: Api) -> None:
    other = make_api(team)
    make_tasks(api, "t")
    lease = api.make("tasks/t/claim", {"ttl_seconds": 60})
    assert lease["held_by"] == api.name
    shown = other.get("tasks/t").data
    assert (shown["status"], shown["in_progress"], shown["assigned_to"]) == ("in_progress", True, api.name)
    assert shown["lease"] == {key: lease[key] for key in ("token", "held_by", "expires_at")}

    held = other.post("tasks/t/claim")
    assert held.refusal == (409, "lease_held")
    assert (held.data["held_by"], held.data["lease_expires_at"]) == (api.name, lease["expires_at"])
    assert api.post("tasks/t/claim").refusal == (409, "lease_held")  # another process may hold it

    renewed = api.make("tasks/t/renew", {"token": lease["token"], "ttl_seconds": 120})
    assert renewed["token"] == lease["token"]
    assert renewed["expires_at"] > lease["expires_at"]

    released = api.make("tasks/t/release", {"token": lease["token"]})
    assert (released["status"], released["in_progress"], released["lease"]) == ("open", False, None)
    taken = other.make("tasks/t/claim")
    assert taken["token"] > lease["token"]


def test_tokens_strictly_increase(team: Team, api: Api) -> None:
    other = make_api(team)
    make_tasks(api, "t")
    tokens = []
    for number in range(6):
        who = (api, other)[number % 2]
        tokens.append(who.make("tasks/t/claim")["token"])
        who.make("tasks/t/release", {"token": tokens[-1]})
    assert all(isinstance(token, int) for token in tokens)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("verb", ["renew", "release", "complete", "fail"])
def test_only_the_holder_with_the_current_token_may(team: Team, api: Api, verb: str) -> None:
    other = make_api(team)
    make_tasks(api, "t")
    assert api.post(f"tasks/t/{verb}", {"token": 1}).refusal == (409, "lease_lost")  # of a task that nobody holds
    old = api.make("tasks/t/claim")["token"]
    api.make("tasks/t/release", {"token": old})
    token = api.make("tasks/t/claim")["token"]
    before = api.get("tasks/t").data
    assert api.post(f"tasks/t/{verb}", {"token": old}).refusal == (409, "lease_lost")
    assert api.post(f"tasks/t/{verb}", {"token": token + 1}).refusal == (409, "lease_lost")
    assert other.post(f"tasks/t/{verb}", {"token": token}).refusal == (409, "lease_lost")
    assert api.get("tasks/t").data == before
    assert api.post(f"tasks/t/{verb}", {"token": token}).status == 200


def test_an_expired_lease_is_lost_and_free(team: Team, api: Api, owner_sql) -> None:
    other = make_api(team)
    task = api.make("tasks", {"key": "t", "title": "T"})["id"]
    token = api.make("tasks/t/claim")["token"]
    owner_sql.execute("update task set lease_expires_at = now() - interval '1 second' where id = %s", [task])
    for verb in ("renew", "release", "complete", "fail"):
        assert api.post(f"tasks/t/{verb}", {"token": token}).refusal == (409, "lease_lost")
    shown = api.get("tasks/t").data
    assert (shown["in_progress"], shown["lease"], shown["assigned_to"]) == (False, None, None)
    assert keys(api, f"held_by={api.name}") == []
    assert other.make("tasks/t/claim")["token"] > token


def test_complete_fail_and_reopen(api: Api) -> None:
    make_tasks(api, "t", "u")
    done = api.make("tasks/t/complete", {"token": api.make("tasks/t/claim")["token"], "outcome": {"refund": 12.5}})
    assert (done["status"], done["outcome"], done["lease"]) == ("done", {"refund": 12.5}, None)
    failed = api.make("tasks/u/fail", {"token": api.make("tasks/u/claim")["token"]})
    assert (failed["status"], failed["outcome"]) == ("failed", None)
    for key in ("t", "u"):
        assert api.post(f"tasks/{key}/claim").refusal == (409, "wrong_state")
        assert api.post(f"tasks/{key}/reopen").status == 400  # a reason is due
        reopened = api.make(f"tasks/{key}/reopen", {"reason": "It came back."})
        assert (reopened["status"], reopened["reopen_count"]) == ("open", 1)
        assert api.post(f"tasks/{key}/reopen", {"reason": "x"}).refusal == (409, "wrong_state")
        assert api.post(f"tasks/{key}/claim").status == 200


def test_wrong_bodies_are_refused_before_states(api: Api) -> None:
    make_tasks(api, "t")
    api.make("tasks/t/complete", {"token": api.make("tasks/t/claim")["token"]})
    assert api.post("tasks/t/claim", {"ttl_seconds": 0}).status == 400
    assert api.post("tasks/none/claim", {"ttl_seconds": 0}).status == 400
    assert api.post("tasks/t/complete", {"token": "1"}).status == 400


def test_a_task_that_a_person_has_is_human_owned(api: Api, person: Person) -> None:
    make_tasks(api, "t")
    token = api.make("tasks/t/claim")["token"]
    made = escalate(api, "t")
    assert api.get("tasks/t").data["status"] == "escalated"
    # Until somebody claims it the agent keeps its lease, but cannot end what it asked about.
    assert api.post("tasks/t/complete", {"token": token}).refusal == (409, "wrong_state")
    claims.claim(person.viewer, escalation_id=made)
    shown = api.get("tasks/t")
    assert (shown.data["human_owned"], shown.data["assigned_to"]) == (True, person.name)
    refused = [
        api.post("tasks/t/claim"),
        *(api.post(f"tasks/t/{verb}", {"token": token}) for verb in ("renew", "release", "complete", "fail")),
        api.patch("tasks/t", {"title": "x"}, shown.headers["ETag"]),
        api.post("decisions", {"task": "t", "decision": "x", "reasoning": "y"}),
    ]
    assert [reply.refusal for reply in refused] == [(409, "human_owned")] * len(refused)
    assert all(reply.data["held_by"] == person.name and reply.data["lease_expires_at"] for reply in refused)
    assert api.post("tasks/claim-next").status == 204
    assert api.get("tasks/t").data == shown.data


# The next free one


def test_claim_next_takes_the_oldest_that_fits(team: Team, api: Api) -> None:
    api.make("tasks", {"key": "a", "title": "A", "metadata": {"kind": "mail"}})
    api.make("tasks", {"key": "b", "title": "B", "metadata": {"kind": "call", "tags": ["x", "y"]}})
    make_tasks(api, "c")
    fits = api.make("tasks/claim-next", {"metadata": {"tags": ["y"], "kind": "call"}, "ttl_seconds": 60})
    assert fits["task"]["key"] == "b"
    assert fits["lease"] == {**fits["task"]["lease"], "held_by": api.name}
    assert api.make("tasks/claim-next")["task"]["key"] == "a"
    assert api.make("tasks/claim-next", {"status": "open"})["task"]["key"] == "c"
    assert api.post("tasks/claim-next").status == 204
    assert api.post("tasks/claim-next", {"metadata": {"kind": "none"}}).status == 204


def test_claim_next_needs_no_body(api: Api) -> None:
    make_tasks(api, "a")
    assert api.send("POST", "tasks/claim-next").data["task"]["key"] == "a"


def test_claim_next_takes_what_a_dead_agent_held(team: Team, api: Api, owner_sql) -> None:
    task = api.make("tasks", {"key": "t", "title": "T"})["id"]
    token = make_api(team).make("tasks/t/claim")["token"]
    assert api.post("tasks/claim-next").status == 204
    owner_sql.execute("update task set lease_expires_at = now() - interval '1 second' where id = %s", [task])
    assert api.make("tasks/claim-next")["lease"]["token"] > token


def test_claim_next_finds_nothing_hidden(team: Team, api: Api) -> None:
    make_tasks(make_api(team, CONFIDENTIAL), "t", sensitivity="confidential")
    assert api.post("tasks/claim-next").status == 204


def test_two_at_once_never_get_the_same_task(team: Team, api: Api) -> None:
    names = [f"t{number}" for number in range(12)]
    make_tasks(api, *names)

    def drain(mine: Api) -> list[str]:
        got = []
        while (reply := mine.post("tasks/claim-next")).status == 200:
            got.append(reply.data["task"]["key"])
        assert reply.status == 204
        return got

    got = at_once(*(partial(drain, make_api(team)) for _ in range(4)))
    assert sorted(key for part in got for key in part) == sorted(names)


def test_of_several_claims_at_once_one_succeeds(team: Team, api: Api) -> None:
    make_tasks(api, "t")
    got = at_once(*(partial(make_api(team).post, "tasks/t/claim") for _ in range(4)))
    assert sorted(reply.refusal for reply in got) == [(200, None), *[(409, "lease_held")] * 3]


def test_two_at_once_make_one_task(team: Team, api: Api) -> None:
    got = at_once(*(partial(make_api(team).post, "tasks", {"key": "t", "title": "T"}) for _ in range(4)))
    assert sorted(reply.status for reply in got) == [200, 200, 200, 201]
    assert len({reply.data["id"] for reply in got}) == 1
