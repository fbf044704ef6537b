"""What /metrics tells whoever watches the installation, and what it tells nobody."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import httpx2
import psycopg
import pytest
from django.utils.timezone import now

from memoryhub.core.outbox import jobs
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.factories import TestAgent, make_agent, make_team, unique
from tests.support.labelled_world import ask, make_task
from tests.support.timing import wait_until
from tests.support.web import Server, metrics


def grown(before: dict[tuple[str, str], float], after: dict[tuple[str, str], float], name: str, labels: str) -> float:
    return after.get((f"memoryhub_{name}", labels), 0) - before.get((f"memoryhub_{name}", labels), 0)


def post(server: Server, agent: TestAgent, path: str, body: object, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{server.url}/api/v1/{path}", json=body, headers={**agent.headers, **headers}, timeout=30)


def quiet(server: Server) -> dict[tuple[str, str], float] | None:
    """The figures, once nothing more is refused of what another test has left under way."""
    before = metrics(server)
    time.sleep(1)
    after = metrics(server)
    refused = [{key: value for key, value in one.items() if "refusals_total" in key[0]} for one in (before, after)]
    return after if refused[0] == refused[1] else None


def test_what_is_done_is_counted(server: Server) -> None:
    team = make_team()
    agent, limited = make_agent(team), make_agent(team, rate_limit=6)
    before = wait_until(lambda: quiet(server))
    key, task = {"Idempotency-Key": unique("once")}, {"key": "t", "title": "T"}
    assert [post(server, agent, "tasks", task, **key).status_code for _ in range(2)] == [201, 201]
    assert post(server, agent, "tasks/t/claim", {}).status_code == 200
    assert post(server, agent, "tasks/t/complete", {"token": 99}).json()["code"] == "lease_lost"
    assert [post(server, limited, "observations", {"content": "x"}).status_code for _ in range(2)] == [201, 429]
    after = metrics(server)
    for verb in ("task.create", "task.claim", "observation.log"):
        assert grown(before, after, "events_total", f'verb="{verb}"') == 1, verb
    for code in ("lease_lost", "too_many_requests"):
        assert grown(before, after, "refusals_total", f'code="{code}"') == 1, code
    assert grown(before, after, "replays_total", "") == 1
    assert grown(before, after, "ledger_events", "") >= 3
    door = 'door="api/v1/tasks",method="POST",status="201"'
    assert grown(before, after, "http_requests_total", door) == 2


def test_what_waits_is_told_whichever_process_made_it(server: Server, owner_sql: psycopg.Connection) -> None:
    team = make_team()
    agent, system = make_agent(team), system_viewer(team.id)
    before = metrics(server)
    ask(agent.viewer, make_task(agent.viewer))
    with viewer_transaction(system):
        for _ in range(2):
            jobs.schedule(system, "trial.leave_a_mark", row_id=None, due_at=now() + timedelta(hours=1))
    # Held, as if a worker had just begun it: one of another test must not do it meanwhile.
    owner_sql.execute(
        "update outbox set due_at = now() - interval '1 hour', claimed_until = now() + interval '1 hour'"
        " where team_id = %s",
        [team.id],
    )
    owner_sql.execute(
        "update outbox set failure = 'Boom' where id = (select id from outbox where team_id = %s limit 1)", [team.id]
    )
    after = metrics(server)
    owner_sql.execute("update outbox set done_at = now() where team_id = %s", [team.id])
    assert grown(before, after, "escalations", 'state="queued"') == 1
    assert after["memoryhub_escalations_oldest_seconds", 'state="queued"'] > 0
    assert grown(before, after, "outbox_jobs", 'state="due"') == 1
    assert grown(before, after, "outbox_jobs", 'state="failed"') == 1
    assert after["memoryhub_outbox_oldest_due_seconds", ""] >= 3600


def test_who_listens_and_how_late_they_hear_is_told(server: Server) -> None:
    agent = make_agent(make_team())
    escalation = ask(agent.viewer, make_task(agent.viewer))
    before = metrics(server)
    with ThreadPoolExecutor(1) as threads:
        address = f"{server.url}/api/v1/escalations/{escalation.id}/answer?wait=20"
        waiting = threads.submit(httpx2.get, address, headers=agent.headers, timeout=60)
        while grown(before, during := metrics(server), "live_listeners", "") < 1:
            assert not waiting.done()
        assert grown(before, during, "live_listeners", "") == 1
        assert post(server, agent, f"escalations/{escalation.id}/cancel", {"reason": "x"}).status_code == 200
        assert waiting.result().json()["outcome"] == "cancelled"
    while grown(before, after := metrics(server), "live_listeners", "") > 0:
        pass
    assert grown(before, after, "live_delay_seconds_count", "") >= 1
    assert 0 < grown(before, after, "live_delay_seconds_sum", "") < 30


def test_no_label_is_a_key_a_task_a_name_or_a_word_of_the_client(server: Server) -> None:
    """Such labels would tell who works on what, and let a client fill the memory."""
    agent, word = make_agent(make_team()), unique("word")
    task, ref = unique("task"), str(uuid4())
    post(server, agent, "tasks", {"key": task, "title": word}, **{"X-Request-Id": word})
    post(server, agent, f"tasks/{task}/claim", {})
    post(server, agent, "observations", {"content": word, "task": task, "tags": [word], "client_ref": ref})
    post(server, agent, word, {})
    for method, path in ((word.upper(), "tasks"), ("GET", f"tasks?q={word}"), ("GET", f"escalations/{ref}/answer")):
        httpx2.request(method, f"{server.url}/api/v1/{path}", headers=agent.headers, timeout=30)
    labels = " ".join(label for _, label in metrics(server)).lower()
    secrets = (
        agent.key[:12],
        agent.key_id,
        str(agent.membership.id),
        agent.name,
        agent.membership.team.slug,
        task,
        ref,
    )
    assert [told for told in (*secrets, word) if told.lower() in labels] == []


@pytest.mark.parametrize("sent", ["", "Bearer wrong", "Basic wrong"])
def test_the_metrics_need_their_token(server: Server, sent: str) -> None:
    answer = httpx2.get(f"{server.url}/metrics", headers={"Authorization": sent}, timeout=30)
    assert answer.status_code == 401
    assert "memoryhub_" not in answer.text
