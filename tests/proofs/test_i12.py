"""I12, short in every test run, at full size by `make prove`."""

import pytest

from memoryhub.run.launch import web_command
from tests.proofs import i12_revocation
from tests.support import servers
from tests.support.web import Server


@pytest.mark.prove
@pytest.mark.alone
def test_nothing_is_sent_to_who_lost_the_right(server: Server, full: bool):
    for seed in range(10 if full else 1):
        result = i12_revocation.run(server.url, 3 if full else 2, seed=seed)
        print(result)
        assert result.frames > 20 * result.people, "there was no traffic"
        assert (result.late, result.forbidden, result.still_open, result.wrong_codes) == (0, 0, 0, 0), result
        assert (result.pages_after, result.waits_late) == (0, 0), result
        assert result.slowest <= i12_revocation.MOST_SECONDS


@pytest.mark.prove
@pytest.mark.alone
def test_the_harness_notices_a_server_that_does_not_ask_again():
    port = servers.free_port()
    command = [word.replace("memoryhub.config.asgi", "tests.proofs.i12_control") for word in web_command(port)]
    url = f"http://127.0.0.1:{port}"
    with servers.started("i12-control", command, lambda _: servers.answers(f"{url}/readyz")):
        result = i12_revocation.run(url, 1)
    print(result)
    # A change of the membership is an event, which ends the socket by itself; the rest needs the sweep.
    assert result.still_open >= 3, result
    assert result.late > 0, result
    assert result.waits_late > 0, result
