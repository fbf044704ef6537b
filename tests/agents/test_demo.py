import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from itertools import count

import httpx2
import pytest

from agents.actions import keys
from agents.api.escalations import NewEscalation
from agents.api.tasks import NewTask
from agents.demo.stories import PAYMENT, QUESTION, RETURN, tell
from agents.demo.workers import conclusion
from agents.models import ApiKey
from escalations.json_text import arguments_of
from escalations.models import Escalation
from memoryhub.core.models import Role, Sensitivity
from memoryhub.core.secrecy.sealing import read_text
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.interface.http.shapes import convert
from memoryhub.memory.models import Decision, Observation, Task
from memoryhub.run.launch import web_command
from tests.support import servers
from tests.support.factories import make_agent, make_person, make_team
from tests.support.signing_in import post_login
from tests.support.timing import wait_until

FINANCE = (Sensitivity.CONFIDENTIAL, ["finance"])
COMMAND = [sys.executable, "-m", "agents.demo"]
QUICK = {"DEMO_PACE": "0.02", "DEMO_SEED": "1"}


@pytest.fixture
def team():
    return make_team("demo")


@pytest.fixture
def agents(team):
    return [
        make_agent(team, name="demo-intake"),
        make_agent(team, name="demo-research"),
        make_agent(team, name="demo-returns"),
        make_agent(team, *FINANCE, name="demo-fraud"),
    ]


@pytest.fixture
def environment(agents, tmp_path):
    (tmp_path / "demo-keys.json").write_text(json.dumps({agent.name: agent.key for agent in agents}))
    return {**QUICK, "MEMORYHUB_DATA": str(tmp_path)}


_numbers = count()


@contextmanager
def demo(environment, ready=lambda words: True):
    with servers.started(f"demo-{next(_numbers)}", COMMAND, ready, environment=environment) as process:
        yield process


def seen(team, model, **filters):
    with viewer_transaction(system_viewer(team.id)):
        found = model.objects.filter(team=team, **filters).select_related("author").order_by("id")
        return [(row, read_text(row)) for row in found]


@pytest.fixture
def desk(team, server):
    """A lead in a browser's stead: `desk(escalation, verb, **body)` posts to the people's routes."""
    person = make_person(team, Role.LEAD, *FINANCE)
    with httpx2.Client(base_url=server.url, follow_redirects=True, timeout=30) as client:
        client.get("/login/")
        assert post_login(client, person.username).status_code == 200

        def act(escalation, verb, **body):
            headers = {"X-CSRFToken": client.cookies["csrftoken"], "Accept": "application/json", "Referer": server.url}
            answer = client.post(f"/escalations/{escalation.id}/{verb}", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()

        yield act


VERDICTS = {
    "approval_required": ("approve", "As agreed."),
    "missing_information": ("respond", "Yes, it fits."),
    "safety": ("reject", "We know this customer."),
}


def test_agents_ask_and_do_what_the_person_says(team, server, environment, desk):
    answered = {}
    with demo({**environment, "MEMORYHUB_URL": server.url}) as process:
        while VERDICTS.keys() - answered.keys():
            asked, text = wait_until(lambda: seen(team, Escalation, state="queued"), 60)[0]
            otherwise = ("respond" if "respond" in asked.allowed else "reject", "As you think.")
            verdict, message = VERDICTS.get(asked.reason_code, otherwise)
            desk(asked, "claim")
            desk(asked, "decide", verdict=verdict, message=message)
            answered[asked.reason_code] = asked, text
        for asked, _ in answered.values():
            wait_until(lambda: seen(team, Task, id=asked.task_id, status="done"), 60)  # noqa: B023
        process.popen.terminate()
        assert process.popen.wait(timeout=10) == 0

    for reason_code, (verdict, message) in VERDICTS.items():
        asked, text = answered[reason_code]
        assert seen(team, Escalation, id=asked.id)[0][0].state == "closed"
        [(task, done)] = seen(team, Task, id=asked.task_id)
        [(decided, words)] = seen(team, Decision, task=task)
        assert verdict in words["reasoning"]
        assert done["outcome"] == words["decision"]
        if verdict == "approve":
            assert words["decision"] == {"do": text["action"]["name"], **json.loads(arguments_of(text["action"]))}
            assert decided.action_key.startswith("refund:order-")
        else:
            [(_, reply)] = seen(team, Observation, task=task, tags__contains=["reply"])
            assert reply["content"] == message
        if reason_code == "safety":
            assert (task.sensitivity, task.body) == (Sensitivity.CONFIDENTIAL, None)

    shared = seen(team, Observation, tags__contains=["finding"])
    assert {row.author.name for row, _ in shared} == {"demo-research"}
    assert all("(simulated)" in text["title"] for _, text in seen(team, Task))


def test_an_agent_that_was_killed_goes_on_and_doubles_nothing(team, server, environment, desk):
    environment |= {"MEMORYHUB_URL": server.url}
    with demo(environment) as process:
        missing = {"state": "queued", "reason_code": "missing_information"}
        [(asked, _), *_] = wait_until(lambda: seen(team, Escalation, **missing), 60)
        process.popen.kill()
        process.popen.wait()
    desk(asked, "claim")
    desk(asked, "decide", verdict="respond", message="It does.")
    with demo(environment):
        wait_until(lambda: seen(team, Task, id=asked.task_id, status="done"), 60)
    assert len(seen(team, Escalation, task=asked.task_id)) == 1
    tags = [row.tags[0] for row, _ in seen(team, Observation, task=asked.task_id)]
    assert sorted(tags) == ["looked-up", "reply", "user"]


def test_the_demo_waits_for_a_server_and_outlives_its_restart(team, environment):
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    with demo({**environment, "MEMORYHUB_URL": url}):
        for _ in range(2):
            before = len(seen(team, Task))
            with servers.started("web-again", web_command(port), lambda words: servers.answers(f"{url}/readyz")):
                wait_until(lambda: len(seen(team, Task)) > before, 60)  # noqa: B023


def test_refused_keys_end_it_with_a_sentence(team, server, environment, agents):
    with demo({**environment, "MEMORYHUB_URL": server.url}, lambda words: seen(team, Task)) as process:
        for agent in agents:
            keys.revoke(system_viewer(team.id), key=ApiKey.objects.get(id=agent.key_id))
        assert process.popen.wait(timeout=60) == 1
        said = process.log.read_text()
    for agent in agents:
        assert f"{agent.name}: stops, since its key is refused" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"somebody": "else"}'])
def test_without_keys_it_says_what_is_missing(tmp_path, content):
    if content is not None:
        (tmp_path / "demo-keys.json").write_text(content)
    ended = subprocess.run(
        COMMAND, cwd=servers.ROOT, env={**os.environ, "MEMORYHUB_DATA": str(tmp_path)}, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stdout.startswith("The demo does not start: ")
    assert ended.stderr == ""


@pytest.mark.parametrize("kind", [RETURN, QUESTION, PAYMENT])
def test_stories_are_told_again_the_same_and_fit_the_api(kind):
    asks = set()
    for number in range(300):
        case = tell(kind, number)
        assert tell(kind, number) == case
        convert({"key": case.key, "title": case.title, "requester": case.requester, "metadata": case.metadata}, NewTask)
        if case.ask:
            asks.add(case.ask.reason_code)
            asking = {name: value for name, value in vars(case.ask).items() if value is not None}
            convert({"task": case.key, **asking}, NewEscalation)
            assert case.ask.action or not {"approve", "edit"} & set(case.ask.allowed)
        else:
            asks.add(None)
    assert len(asks) >= 2


def test_what_research_counts_can_be():
    for number in range(300):
        others, like_this = map(int, re.findall(r": (\d+)[,.]", tell(RETURN, number).research))
        assert like_this <= others


@pytest.mark.parametrize(
    ("answer", "does"),
    [
        ({"decision": "edit", "action": {"name": "refund_payment", "arguments": {"amount_eur": 5}}}, "refund_payment"),
        ({"decision": "respond", "message": "Yes."}, "answer_with_their_words"),
        ({"decision": "reject", "message": "No."}, "refuse"),
        ({"decision": "ignore"}, None),
        ({"decision": None, "outcome": "cancelled", "by": None}, None),
        ({"decision": None, "outcome": "expired", "by": None}, None),
    ],
)
def test_what_a_person_says_is_what_is_done(answer, does):
    case = tell(RETURN, 1)
    decision, reasoning, reply = conclusion(case, {"outcome": "answered", "by": "Pia", **answer})
    assert decision["do"] == (does or case.decision["do"])
    assert reasoning
    assert reply == answer.get("message", case.reply)
