from functools import partial
from typing import Any

from escalations.actions import claims
from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.selectors import memories
from tests.support.api import Api, at_once, make_api
from tests.support.factories import Person

CONFIDENTIAL = Sensitivity.CONFIDENTIAL


def log(api: Api, content: Any = "seen", **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.make("observations", {"content": content, **fields})
    return made


def contents(api: Api, query: str = "") -> list[Any]:
    return [row["content"] for row in api.results(f"observations?{query}")]


# One


def test_log_answers_the_row(api: Api, task: str) -> None:
    body = {
        "task": task,
        "content": {"saw": [1, 2.5, None, True, "ü"]},
        "tags": ["refund", "order 12"],
        "importance": 0.5,
        "occurred_at": "2026-01-31T09:30:00+02:00",
        "expires_at": "2999-01-01T00:00:00Z",
        "pinned": True,
        "client_ref": "ref:1",
    }
    reply = api.post("observations", body)
    assert reply.status == 201
    changed = {"occurred_at": "2026-01-31T07:30:00Z", "duplicate": False, "private": False, "author": api.name}
    assert reply.data.items() >= {**body, **changed, "sensitivity": "internal", "compartments": []}.items()
    assert reply.data["seq"] > 0
    (listed,) = api.results("observations")
    assert {**listed, "duplicate": False} == reply.data


def test_log_without_a_task(api: Api) -> None:
    assert log(api)["task"] is None


def test_an_absent_task_is_404_and_not_made(api: Api) -> None:
    assert api.post("observations", {"content": "x", "task": "none"}).refusal == (404, "not_found")
    assert api.results("tasks") == []
    assert contents(api) == []


def test_a_repeated_client_ref_is_a_duplicate(team: Team, api: Api, task: str) -> None:
    first = log(api, "first", client_ref="r", task=task)
    again = api.post("observations", {"content": "second", "client_ref": "r"})
    assert (again.status, again.data) == (200, {**first, "duplicate": True})
    assert make_api(team).post("observations", {"content": "x", "client_ref": "r"}).status == 201  # another's own
    assert contents(api) == ["x", "first"]


def test_the_same_content_is_a_duplicate_only_when_asked(team: Team, api: Api, task: str) -> None:
    same = {"a": 1, "b": [2]}
    first = log(api, same, dedupe=True, task=task)
    again = api.post("observations", {"content": {"b": [2], "a": 1}, "dedupe": True, "task": task})
    assert (again.status, again.data["id"]) == (200, first["id"])
    # Real runs repeat identical results; within task, label and author only.
    kept = [
        api.post("observations", {"content": same, "task": task}),
        api.post("observations", {"content": same, "dedupe": True}),
        api.post("observations", {"content": same, "dedupe": True, "task": task, "sensitivity": "public"}),
        make_api(team).post("observations", {"content": same, "dedupe": True, "task": task}),
        api.post("observations", {"content": {**same, "b": [3]}, "dedupe": True, "task": task}),
    ]
    assert [reply.status for reply in kept] == [201] * len(kept)


def test_equal_numbers_of_two_kinds_are_two_contents(api: Api) -> None:
    log(api, {"n": 1}, dedupe=True)
    assert api.post("observations", {"content": {"n": True}, "dedupe": True}).status == 201


def test_several_at_once_with_one_client_ref_make_one(api: Api) -> None:
    got = at_once(*(partial(api.post, "observations", {"content": "x", "client_ref": "r"}) for _ in range(4)))
    assert sorted(reply.status for reply in got) == [200, 200, 200, 201]
    assert len({reply.data["id"] for reply in got}) == 1


def test_what_has_expired_is_gone_and_what_would_be_is_refused(api: Api, owner_sql) -> None:
    made = log(api, "brief", expires_at="2999-01-01T00:00:00Z")
    log(api, "stays")
    owner_sql.execute("update observation set expires_at = now() - interval '1 second' where id = %s", [made["id"]])
    assert contents(api) == ["stays"]
    reply = api.post("observations", {"content": "x", "expires_at": "2020-01-01T00:00:00Z"})
    assert reply.refusal == (400, "invalid")
    assert reply.data["errors"][0]["pointer"] == "/expires_at"


def test_a_private_one_is_seen_by_its_author_only(team: Team, api: Api, task: str) -> None:
    other = make_api(team, CONFIDENTIAL, ["finance"])
    log(api, "reasoning", private=True, task=task)
    log(api, "shared", task=task)
    assert contents(api) == ["shared", "reasoning"]
    for query in ("", "task=t", f"agent={api.name}", "after_seq=0"):
        assert contents(other, query) == ["shared"]
    # Nor can a decision rest on it, which would tell that it exists.
    private = api.results("observations")[1]["id"]
    body = {"task": task, "decision": "x", "reasoning": "y", "based_on": [private]}
    assert other.post("decisions", body).refusal == (404, "not_found")
    assert api.post("decisions", body).status == 201


# Labels


def test_the_label_is_the_tasks_unless_one_is_asked_for(team: Team) -> None:
    high = make_api(team, CONFIDENTIAL, ["finance", "pii"])
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential", "compartments": ["finance"]})
    for asked, level, words in (
        ({}, "confidential", ["finance"]),
        ({"sensitivity": "internal"}, "internal", ["finance"]),
        ({"compartments": []}, "confidential", []),
        ({"compartments": ["pii", "finance", "pii"]}, "confidential", ["finance", "pii"]),
        ({"sensitivity": "public", "compartments": []}, "public", []),
    ):
        made = log(high, task="s", **asked)
        assert (made["sensitivity"], made["compartments"]) == (level, words)
    assert log(high)["sensitivity"] == "internal"


def test_no_write_up(team: Team, api: Api, task: str) -> None:
    for label in ({"sensitivity": "confidential"}, {"compartments": ["pii"]}):
        assert api.post("observations", {"content": "x", "task": task, **label}).refusal == (403, "forbidden")
    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    assert api.post("observations", {"content": "x", "task": "s"}).refusal == (404, "not_found")
    assert contents(high) == []


def test_a_low_row_of_a_hidden_task_does_not_name_it(team: Team, api: Api) -> None:
    high = make_api(team, CONFIDENTIAL)
    high.make("tasks", {"key": "s", "title": "S", "sensitivity": "confidential"})
    log(high, "low", task="s", sensitivity="internal")
    (row,) = api.results("observations")
    assert (row["content"], row["task"]) == ("low", None)
    assert api.get("observations?task=s").refusal == (404, "not_found")


def test_confidential_content_is_sealed_and_its_reading_recorded(team: Team, owner_sql) -> None:
    high = make_api(team, CONFIDENTIAL)
    made = log(high, {"card": "4000-0000"}, sensitivity="confidential")
    assert made["content"] == {"card": "4000-0000"}
    assert contents(high) == [{"card": "4000-0000"}]
    stored = owner_sql.execute("select body, sealed from observation where id = %s", [made["id"]]).fetchone()
    assert stored[0] is None
    assert b"4000" not in stored[1]
    reads = owner_sql.execute("select count(*) from access_log where row_id = %s", [made["id"]]).fetchone()
    assert reads == (2,)  # its own answer, and the list


# Leases


def test_a_token_is_checked_only_when_it_is_brought(team: Team, api: Api, task: str) -> None:
    token = api.make("tasks/t/claim")["token"]
    assert log(api, task=task, token=token)["task"] == task
    for bad in (token + 1, 999):
        assert api.post("observations", {"content": "x", "task": task, "token": bad}).refusal == (409, "lease_lost")
    other = make_api(team)
    assert other.post("observations", {"content": "x", "task": task, "token": token}).refusal == (409, "lease_lost")
    assert other.post("observations", {"content": "x", "task": task}).status == 201
    api.make("tasks/t/release", {"token": token})
    assert api.post("observations", {"content": "x", "task": task, "token": token}).refusal == (409, "lease_lost")


def test_a_batch_checks_the_token_of_each_item_that_brings_one(team: Team, api: Api, task: str) -> None:
    token = api.make(f"tasks/{task}/claim")["token"]
    api.make("tasks", {"key": "other", "title": "Other"})
    items = [
        {"content": "held", "task": task, "token": token, "client_ref": "r"},
        {"content": "old", "task": task, "token": token + 1},
        {"content": "none", "task": task},
        {"content": "foreign", "task": "other", "token": token},
        {"content": "of no task", "token": token},
    ]
    reply = api.post("observations/batch", {"items": items})
    assert reply.status == 207
    told = [(result["status"], result.get("error", {}).get("code")) for result in reply.data["results"]]
    lost = ("error", "lease_lost")
    assert told == [("created", None), lost, ("created", None), lost, ("error", "invalid")]
    assert reply.data["results"][4]["error"]["errors"][0]["pointer"] == "/items/4/task"
    assert sorted(contents(api)) == ["held", "none"]
    # What was logged stays logged, whoever has the task by now.
    api.make(f"tasks/{task}/release", {"token": token})
    make_api(team).make(f"tasks/{task}/claim")
    again = api.post("observations/batch", {"items": items[:1]})
    assert [result["status"] for result in again.data["results"]] == ["duplicate"]


def test_observations_still_flow_while_a_person_has_the_task(api: Api, task: str, person: Person) -> None:
    body = {"task": task, "reason_code": "other", "reason": "r", "question": "q"}
    claims.claim(person.viewer, escalation_id=api.make("escalations", body)["id"])
    assert log(api, task=task)["task"] == task


# Many


def test_a_batch_has_a_result_an_item(team: Team, api: Api, task: str) -> None:
    log(api, "there", client_ref="old")
    items: list[Any] = [
        {"content": "a", "task": task},
        {"content": "b", "client_ref": "old"},
        {"content": "c", "nope": 1},
        {"content": "d", "task": "none"},
        {"content": "e", "sensitivity": "confidential"},
        "no object",
        {"content": "f", "token": 1},
        {"content": "g", "client_ref": "new"},
        {"content": "h", "client_ref": "new"},
        {"content": "i", "private": True},
        {"content": "j", "expires_at": "2020-01-01T00:00:00Z"},
    ]
    reply = api.post("observations/batch", {"items": items})
    assert reply.status == 207
    results = reply.data["results"]
    assert [result["index"] for result in results] == list(range(len(items)))
    shown = [result["status"] if "id" in result else result["error"]["status"] for result in results]
    assert shown == ["created", "duplicate", 400, 404, 403, 400, 400, "created", "duplicate", "created", 400]
    assert results[7]["id"] == results[8]["id"]
    assert results[2]["error"]["errors"][0]["pointer"] == "/items/2/nope"
    assert results[10]["error"]["errors"][0]["pointer"] == "/items/10/expires_at"
    assert results[2]["error"]["code"] == "invalid"
    assert contents(api) == ["i", "g", "a", "there"]
    assert contents(make_api(team)) == ["g", "a", "there"]


def test_a_good_batch_is_200_and_repeats_as_duplicates(api: Api) -> None:
    items = [{"content": number, "client_ref": f"r{number}"} for number in map(str, range(100))]
    first = api.post("observations/batch", {"items": items})
    assert (first.status, {result["status"] for result in first.data["results"]}) == (200, {"created"})
    again = api.post("observations/batch", {"items": items})
    assert (again.status, {result["status"] for result in again.data["results"]}) == (200, {"duplicate"})
    assert [result["id"] for result in again.data["results"]] == [result["id"] for result in first.data["results"]]
    assert len(api.results("observations?limit=100")) == 100


def test_a_batch_makes_one_event_a_label(team: Team, owner_sql) -> None:
    high = make_api(team, CONFIDENTIAL)
    levels = ["public", "internal", "confidential", "internal"]
    high.make("observations/batch", {"items": [{"content": "x", "sensitivity": level} for level in levels]})
    found = owner_sql.execute(
        "select data ->> 'count' from event where team_id = %s and type = 'observation.log' order by 1", [team.id]
    ).fetchall()
    assert found == [("2",), (None,), (None,)]


def test_batch_bounds(api: Api) -> None:
    assert api.post("observations/batch", {"items": []}).status == 400
    assert api.post("observations/batch", {"items": [{"content": "x"}] * 1001}).status == 400
    assert api.post("observations/batch", {"items": {"content": "x"}}).status == 400
    assert contents(api) == []
    reply = api.post("observations/batch", {"items": [{"content": "x"}] * 1000})
    assert (reply.status, len(reply.data["results"])) == (200, 1000)


# Lists


def test_list_filters(team: Team, api: Api, task: str) -> None:
    other = make_api(team)
    log(api, "a", tags=["x"], importance=0.2, task=task)
    second = log(other, "b", tags=["x", "y"], importance=0.9)
    log(api, "c", tags=["y"])
    assert contents(api) == ["c", "b", "a"]
    assert contents(api, "task=t") == ["a"]
    assert contents(api, "tags=x") == ["b", "a"]
    assert contents(api, "tags=x,y") == ["b"]
    assert contents(api, "tags=x,y&tags_mode=any") == ["c", "b", "a"]
    assert contents(api, f"agent={api.name}") == ["c", "a"]
    assert contents(api, f"exclude_agent={api.name}") == ["b"]
    assert contents(api, "exclude_own=true") == ["b"]
    assert contents(api, "min_importance=0.5") == ["b"]
    assert contents(api, "min_importance=0") == ["b", "a"]
    assert contents(api, f"after_seq={second['seq']}") == ["c"]
    assert contents(api, f"since={second['created_at']}") == ["c", "b"]
    assert contents(api, f"until={second['created_at']}") == ["a"]
    assert contents(api, "agent=nobody") == []
    assert contents(api, "tags=%25") == []


def test_pages_forwards_and_backwards(api: Api, task: str) -> None:
    for number in range(5):
        log(api, str(number), task=task)
    log(api, "elsewhere")
    first = api.get("observations?task=t&limit=2").data
    second = api.get(first["next"]).data
    log(api, "5", task=task)
    third = api.get(second["next"]).data
    pages = [[row["content"] for row in part["results"]] for part in (first, second, third)]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]
    assert third["next"] is None
    back = api.get(second["previous"]).data
    assert [row["content"] for row in back["results"]] == ["4", "3"]
    assert [row["content"] for row in api.get(back["previous"]).data["results"]] == ["5"]
    cursor = first["next"].partition("cursor=")[2]
    assert api.get(f"observations?task=t&cursor={cursor}").status == 200


def test_a_foreign_or_forged_cursor_is_refused(team: Team, api: Api, task: str) -> None:
    other = make_api(team)
    for number in range(3):
        log(api, str(number), task=task)
        api.make("decisions", {"task": task, "decision": "x", "reasoning": "y"})
    cursor = api.get("observations?limit=1").data["next"].partition("cursor=")[2]
    forged = cursor[:-6] + ("A" if cursor[-6] != "A" else "B") + cursor[-5:]
    refused = [
        other.get(f"observations?limit=1&cursor={cursor}"),  # another member's
        api.get(f"decisions?limit=1&cursor={cursor}"),  # another list's
        api.get(f"observations?task=t&cursor={cursor}"),  # other filters
        api.get(f"observations?cursor={forged}"),
        api.get("observations?cursor=x"),
        api.get("observations?cursor=%C3%A9"),
    ]
    assert [reply.refusal for reply in refused] == [(400, "invalid")] * len(refused)
    assert {reply.data["errors"][0]["pointer"] for reply in refused} == {"?cursor"}


def test_what_is_new_since_a_seq_is_found_by_the_ledger_and_by_time(team: Team, api: Api, task: str) -> None:
    """The same rows, whether few events have happened since or too many to go by."""
    api.make("tasks", {"key": "busy", "title": "Busy"})
    seqs = [log(api, f"n{number}", task=task)["seq"] for number in range(4)]

    def since(query: str = "") -> list[list[Any]]:
        return [contents(api, f"task={task}&after_seq={seq}{query}") for seq in [0, *seqs, 10**9]]

    whole = [f"n{number}" for number in (3, 2, 1, 0)]
    few = since()
    assert few == [whole, whole[:3], whole[:2], whole[:1], [], []]
    for _ in range(11):
        api.make("observations/batch", {"items": [{"content": "x", "private": number % 2 == 0} for number in range(2)]})
    assert since() == few
    memories._FEW_EVENTS, before = 5, memories._FEW_EVENTS
    try:
        assert since() == few
    finally:
        memories._FEW_EVENTS = before
    page = api.get(f"observations?task={task}&after_seq={seqs[0]}&limit=2")
    rest = api.get(page.data["next"])
    assert [row["content"] for found in (page, rest) for row in found.data["results"]] == whole[:3]


def test_times_bound_a_list_however_far_away_they_are(api: Api, task: str) -> None:
    log(api, "seen", task=task)
    assert contents(api, "since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z") == ["seen"]
    assert contents(api, "since=9999-12-31T23:59:59Z") == []
    assert contents(api, "until=0001-01-01T00:00:00Z") == []
