"""I14, short in `make test` (one case), full in `make prove` (25 cases)."""

import base64
import os
import time
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
import redis

from memoryhub.core import wake
from memoryhub.core.models import Sensitivity
from tests.proofs import i14_canary as harness
from tests.proofs.i14_canary import Hits, make_word
from tests.support.desk_socket import frames, open_socket
from tests.support.factories import make_agent, make_person, make_team
from tests.support.web import Server

pytestmark = pytest.mark.prove


def test_the_search_finds_every_form() -> None:
    word = make_word()
    for form in harness.forms(word):
        hits = Hits(word)
        hits.look("here", b"before" + form + b"after")
        assert hits.places == {"here": 1}, form
    for coded in (base64.b64encode(b"x" * before + word.encode() + b"y" * before) for before in range(6)):
        hits = Hits(word)
        hits.look("here", coded)
        assert hits.places == {"here": 1}, coded
    assert not Hits(word).places


@pytest.mark.usefixtures("worker")
def test_confidential_words_stand_nowhere_in_the_clear(
    server: Server, owner_sql: psycopg.Connection[Any], full: bool
) -> None:
    data = Path(os.environ["MEMORYHUB_DATA"])
    cluster = (data / "servers").resolve() / "postgres"
    team = make_team("canary")
    person = make_person(team, "lead", Sensitivity.CONFIDENTIAL)
    agent = harness.Agent(server.url, make_agent(team, Sensitivity.CONFIDENTIAL))
    desk = harness.Desk(server.url, person)
    hidden, shown, faulty = Hits(make_word()), Hits(make_word()), Hits(make_word())
    session = desk.http.cookies["sessionid"]
    with harness.overheard(os.environ["REDIS_URL"]) as commands:
        with open_socket(server.url, team.slug, session) as socket:
            socket.send('{"after": 0}')
            heard = [frames(socket)]
            for _ in range(25 if full else 1):
                harness.tell(hidden.word, "confidential", agent, desk)
                harness.tell(shown.word, "internal", agent, desk)
                heard.append(told_until_quiet(socket))
        answers = harness.provoke(faulty.word, agent, desk, owner_sql)
        wake.flush()
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as valkey:  # the control: a message with the other word
            valkey.publish("control", shown.word)
            valkey.set(f"control-{shown.word}", shown.word, ex=600)
    assert {status for status, _ in answers} >= {400, 401, 403, 404}
    failed = Hits(answers[-1][1])  # of a request that the database refused

    everything = [hidden, shown]
    harness.look_into_files([cluster], everything, "postgres", "pg_wal/*")  # before a checkpoint discards a segment
    harness.write_everything_to_disk(owner_sql)
    assert harness.look_into_files([cluster], everything, "postgres") > 20_000_000
    assert harness.look_into_dump(everything) > 100_000
    assert harness.look_into_valkey(os.environ["REDIS_URL"], commands, everything) > 10
    harness.look_into_files([data / "log"], [hidden, faulty, failed], "log")
    logs = dict(faulty.places)
    hidden.look("frames", orjson.dumps(heard))
    shown.look("frames", orjson.dumps(heard))

    assert hidden.places == {}
    assert logs == {}
    # The controls: what is not confidential stands in all of these places, and the errors are in the log.
    assert {"postgres/base", "postgres/pg_wal", "dump", "commands", "keys", "frames"} <= shown.places.keys()
    assert sum(failed.places.values()) == 1


def told_until_quiet(socket: Any) -> list[Any]:
    """The frames that come until none comes for a second."""
    found, deadline = [], time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            found.append(orjson.loads(socket.recv(timeout=1)))
        except TimeoutError:
            break
    return found
