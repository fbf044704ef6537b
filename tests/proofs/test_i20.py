"""I20: whatever is sent, the answer is one that the description tells, and never a 5xx."""

import pytest

from memoryhub.run.launch import web_command
from tests.proofs.i20_contract import run
from tests.support import servers
from tests.support.endpoints import make_world
from tests.support.factories import make_team
from tests.support.web import Server

pytestmark = pytest.mark.prove
CASES = 20_000
SPOILT = ("task_create", "agent_list", "me_get")  # by i20_control.py


def test_every_case_is_answered_as_the_description_tells(server: Server, full: bool) -> None:
    sent, seed = 0, 0
    while sent < (CASES if full else 50):
        seed += 1
        # A team of its own each, so that lists and the runner's memory stay small. Short: a few of every operation.
        key = make_world(make_team()).api.key
        size = ["--max-examples", "150"] if full else ["--max-examples", "2", "--phases", "examples,fuzzing"]
        done = run(server.url, str(key), "--seed", str(seed), *size)
        assert not done.failures, done.words[-20_000:]
        sent += done.cases
    print(f"I20: {sent} cases, {seed} seeds, 0 failures")
    assert '"status": 500' not in server.process.log.read_text()


def test_a_server_with_faults_is_caught() -> None:
    """The control."""
    port = servers.free_port()
    command = [word.replace("memoryhub.config.asgi", "tests.proofs.i20_control") for word in web_command(port)]
    url = f"http://127.0.0.1:{port}"
    key = make_world(make_team()).api.key
    with servers.started("i20-control", command, lambda _: servers.answers(f"{url}/readyz")):
        only = [f"--include-operation-id={name}" for name in SPOILT]
        done = run(url, str(key), "--max-examples", "2", "--phases", "fuzzing", *only)
    told = " ".join(done.failures).lower()
    for kind in ("server error", "undocumented status code", "response violates schema"):
        assert kind in told, done.words[-5000:]
