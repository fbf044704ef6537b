"""Idempotency-Key: one effect, one answer."""

import time
from functools import partial
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from memoryhub.core.actions import memberships
from memoryhub.core.models import Idempotency, Membership, Sensitivity, Team
from memoryhub.core.viewers import system_viewer
from tests.support.api import Api, at_once, make_api
from tests.support.factories import unique

BODY = {"content": "seen"}


@pytest.fixture
def key() -> str:
    return unique("key")


def test_a_repeated_request_gets_the_first_answer(api: Api, key: str) -> None:
    first = api.post("observations", BODY, key=key)
    again = api.post("observations", BODY, key=key)
    assert (again.status, again.data) == (201, first.data)
    assert len(api.results("observations")) == 1
    assert api.post("observations", BODY).status == 201  # without a key: another one
    assert len(api.results("observations")) == 2


def test_every_post_repeats(api: Api) -> None:
    """Each with a key of its own, sent twice: equal answers, and no second event."""
    requests: list[tuple[str, Any]] = [
        ("tasks", {"key": "t", "title": "T"}),
        ("tasks/t/claim", {"ttl_seconds": 60}),
        ("tasks/t/renew", {"token": 1}),
        ("observations", {"task": "t", "content": "x"}),
        ("observations/batch", {"items": [{"content": "x"}, {"content": ""}]}),
        ("decisions", {"task": "t", "decision": "x", "reasoning": "y", "action_key": "k"}),
        ("tasks/t/release", {"token": 1}),
        ("tasks/claim-next", {}),
        ("tasks/claim-next", {}),  # there is none left
        ("tasks/t/fail", {"token": 2}),
        ("tasks/t/reopen", {"reason": "again"}),
        ("tasks/t/claim", {}),
        ("tasks/t/complete", {"token": 3}),
        ("tasks", {"key": "u", "title": "U"}),
        ("escalations", {"task": "u", "reason_code": "other", "reason": "r", "question": "q"}),
    ]
    for path, body in requests:
        key = unique("key")
        first, again = (api.post(path, body, key=key) for _ in range(2))
        assert (again.status, again.data) == (first.status, first.data), path
        assert first.status < 300, (path, first)
    assert len(api.results("decisions")) == 1
    assert len(api.results("observations")) == 2
    made = api.results("escalations")[0]["id"]
    key = unique("key")
    first, again = (api.post(f"escalations/{made}/cancel", {"reason": "x"}, key=key) for _ in range(2))
    assert (first.status, again.status, first.data) == (200, 200, again.data)


def test_a_replay_is_rendered_anew(api: Api, key: str) -> None:
    first = api.post("tasks", {"key": "t", "title": "T"}, key=key)
    api.patch("tasks/t", {"title": "Changed"}, first.headers["ETag"])
    again = api.post("tasks", {"key": "t", "title": "T"}, key=key)
    assert (again.status, again.data["title"], again.data["version"]) == (201, "Changed", 2)


def test_a_replay_shows_nothing_that_one_may_no_longer_see(team: Team, key: str) -> None:
    high = make_api(team, Sensitivity.CONFIDENTIAL)
    body = {"content": "secret", "sensitivity": "confidential"}
    assert high.agent is not None
    assert high.post("observations", body, key=key).status == 201
    member = Membership.objects.select_related("actor", "team").get(id=high.agent.membership.id)
    memberships.change(
        system_viewer(team.id), member=member, role="agent", clearance=1, compartments=[], is_active=True
    )
    assert high.post("observations", body, key=key).refusal == (404, "not_found")
    made = {"task": "t", "decision": "secret", "reasoning": "secret", "sensitivity": "internal"}
    high.make("tasks", {"key": "t", "title": "T"})
    decided = unique("key")
    assert high.post("decisions", made, key=decided).status == 201
    memberships.change(
        system_viewer(team.id), member=member, role="agent", clearance=0, compartments=[], is_active=True
    )
    assert high.post("decisions", made, key=decided).refusal == (404, "not_found")


def test_the_record_holds_no_content(api: Api, key: str) -> None:
    api.post("observations", {"content": "very secret"}, key=key)
    record = Idempotency.objects.get(key=key)
    assert "secret" not in str(record.result)
    assert record.event_id is not None


def test_another_request_with_the_key_is_refused(api: Api, key: str) -> None:
    api.post("observations", BODY, key=key)
    others = [
        api.post("observations", {"content": "other"}, key=key),
        api.post("observations", b'{"content":  "seen"}', key=key),
        api.post("observations/batch", {"items": [BODY]}, key=key),
    ]
    assert [reply.refusal for reply in others] == [(422, "idempotency_mismatch")] * 3
    assert len(api.results("observations")) == 1


def test_a_key_belongs_to_its_api_key(team: Team, api: Api, key: str) -> None:
    first = api.post("observations", BODY, key=key)
    other = make_api(team).post("observations", BODY, key=key)
    assert (other.status, other.data["id"] == first.data["id"]) == (201, False)


def test_a_refused_first_leaves_nothing(api: Api, key: str) -> None:
    body = {"task": "t", "content": "x"}
    assert api.post("observations", body, key=key).status == 404
    assert not Idempotency.objects.filter(key=key).exists()
    api.make("tasks", {"key": "t", "title": "T"})
    assert api.post("observations", body, key=key).status == 201
    # Nor does a body that is no good.
    other = unique("key")
    assert api.post("observations", {"nope": 1}, key=other).status == 400
    assert api.post("observations", BODY, key=other).status == 201


@pytest.mark.parametrize("bad", ["", " ", "x" * 256, "x" * 300, "a b", "a\tb", "ü"])
def test_a_key_that_is_none_is_refused(api: Api, bad: str) -> None:
    assert api.post("observations", BODY, key=bad).refusal == (400, "invalid")
    assert api.results("observations") == []


def test_the_longest_key(api: Api) -> None:
    key = unique("k").ljust(255, "~")
    assert [api.post("observations", BODY, key=key).status for _ in range(2)] == [201, 201]
    assert len(api.results("observations")) == 1


def test_several_at_once_have_one_effect(api: Api, key: str) -> None:
    got = at_once(*(partial(api.post, "observations", BODY, key=key) for _ in range(4)))
    assert [reply.status for reply in got] == [201] * 4
    assert len({reply.data["id"] for reply in got}) == 1


def test_a_concurrent_second_waits_for_the_first(api: Api, key: str, owner_sql: Any) -> None:
    made = api.make("tasks", {"key": "t", "title": "T"})
    got: list[Any] = []

    def send() -> None:
        got.append(api.post("tasks/t/claim", {}, key=key))
        connection.close()

    first, second = Thread(target=send), Thread(target=send)
    with owner_sql.transaction():
        # The first one cannot finish while the task is locked.
        owner_sql.execute("select from task where id = %s for update", [made["id"]])
        first.start()
        wait_for_locks(owner_sql, 1)
        second.start()
        wait_for_locks(owner_sql, 2)
        assert got == []
    first.join()
    second.join()
    assert [reply.status for reply in got] == [200, 200]
    assert got[0].data == got[1].data


def wait_for_locks(owner_sql: Any, count: int) -> None:
    """Until so many of this database's connections wait for a lock."""
    waiting = """select count(*) from pg_locks where not granted
        and pid in (select pid from pg_stat_activity where datname = current_database())"""
    for _ in range(500):
        owner_sql.execute("select pg_stat_clear_snapshot()")
        if owner_sql.execute(waiting).fetchone()[0] >= count:
            return
        time.sleep(0.01)
    raise AssertionError("nobody waits")
