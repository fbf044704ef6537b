"""Vectors in the processes themselves: web, worker and beat, the command, and what is said when something misses."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import psycopg
import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.core.management.base import CommandError

from memoryhub.core.models import Sensitivity, Team
from memoryhub.memory.management.commands import reindex_vectors
from memoryhub.memory.search import indexer
from memoryhub.memory.search.indexer import catch_up
from memoryhub.run.launch import beat_command, web_command, worker_command
from tests.support import servers
from tests.support.api import Api, make_api
from tests.support.commands import run
from tests.support.embeddings import KEY, MODEL, Endpoint, serving
from tests.support.factories import unique
from tests.support.searching import embed, found, kept, remember
from tests.support.servers import ROOT, drop_database

WAIT_SECONDS = 40


@pytest.fixture
def running(owner_sql: psycopg.Connection[Any]) -> Iterator[tuple[Endpoint, str, list[Path]]]:
    """The endpoint; the address of a web process that has it, and a worker and beat; their logs.

    They end with the test: the worker would do the work of the others. What other tests have left to do is done.
    """
    for other in indexer.behind():
        catch_up(other)
    followed = "insert into search_vector_state (team_id, model) select id, %s from team on conflict do nothing"
    owner_sql.execute(followed, [MODEL])
    with ExitStack() as stack:
        there = stack.enter_context(serving())
        environment = {
            "EMBEDDINGS_URL": there.url,
            "EMBEDDINGS_KEY": KEY,
            "EMBEDDINGS_MODEL": MODEL,
            "LOG_LEVEL": "DEBUG",
            "REDIS_PREFIX": f"{os.environ['REDIS_PREFIX']}-vectors",
        }
        port = servers.free_port()
        url = f"http://127.0.0.1:{port}"
        data = Path(os.environ["MEMORYHUB_DATA"]) / environment["REDIS_PREFIX"]
        data.mkdir(exist_ok=True)
        begun: list[tuple[str, list[str], Any]] = [
            ("web-vectors", web_command(port), lambda _: servers.answers(f"{url}/readyz")),
            ("worker-vectors", worker_command(), lambda _: True),
            ("beat-vectors", beat_command(data), lambda _: True),
        ]
        logs = [
            stack.enter_context(servers.started(name, command, ready, environment=environment)).log
            for name, command, ready in begun
        ]
        yield there, url, logs


def search(url: str, api: Api, **query: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {api.key}"}
    return httpx2.get(f"{url}/api/v1/search?{urlencode(query)}", headers=headers, timeout=30)


def test_what_is_written_is_found_by_meaning_within_seconds_and_secrets_stay(
    running: tuple[Endpoint, str, list[Path]], team: Team
) -> None:
    there, url, logs = running
    api = make_api(team, Sensitivity.CONFIDENTIAL)
    secret, own = unique("secret"), unique("own")
    remember(api, f"the word is {secret}", sensitivity="confidential")
    remember(api, f"the word is {own}", private=True)
    remember(api, "the jet was postponed")
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := search(url, api, q="late flight", mode="semantic")).json()["results"]:
        assert time.monotonic() < deadline, [log.read_text()[-2000:] for log in logs]
        time.sleep(0.3)
    (hit,) = answer.json()["results"]
    assert hit["row"]["content"] == "the jet was postponed"
    assert hit["matched"]["meaning"] > 0.5
    assert "the jet was postponed" in there.texts
    sent = "\n".join(there.texts)
    assert secret not in sent
    assert own not in sent

    there.status = 503
    assert search(url, api, q="upset", mode="semantic").status_code == 503
    fallen_back = search(url, api, q=secret).json()
    assert (fallen_back["degraded"], len(fallen_back["results"])) == (True, 1)
    text = "".join(log.read_text() for log in logs)
    assert "embeddings_away" in text  # the control
    assert KEY not in text
    assert "jet" not in text
    there.status = 200


def test_a_wrong_combination_is_a_sentence_at_the_start() -> None:
    right = {"EMBEDDINGS_URL": "https://host/v1", "EMBEDDINGS_MODEL": "m", "EMBEDDINGS_KEY": "k"}
    for change, said in (
        ({"EMBEDDINGS_URL": ""}, "have no effect without EMBEDDINGS_URL"),
        ({"EMBEDDINGS_MODEL": ""}, "needs EMBEDDINGS_MODEL"),
        ({"EMBEDDINGS_URL": "host/v1"}, "must look like https://host/v1"),
        ({"EMBEDDINGS_URL": "https://host:x/v1"}, "must look like https://host/v1"),
        ({"EMBEDDINGS_URL": "https://me:pass@host/v1"}, "without a user name, a password"),
        ({"EMBEDDINGS_KEY": "schlüssel"}, "printable ASCII"),
        ({}, None),
    ):
        done = manage("check", **{**right, **change})
        assert (done.returncode == 0) == (said is None), done.stderr
        assert said is None or said in done.stderr
        assert "pass@" not in done.stderr


def manage(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def run_command(**options: Any) -> list[str]:
    return run("reindex_vectors", **options)[1].splitlines()


def test_the_command_says_how_far_it_is_and_goes_on_where_it_was_broken_off(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reindex_vectors, "SAY_SECONDS", 0.0)
    monkeypatch.setattr(reindex_vectors, "MAX_FAILURES", 1)
    for _ in range(4):
        remember(api, *[unique("row") for _ in range(50)])
    endpoint.fails_after = 2
    with pytest.raises(CommandError, match="run this command again to continue"):
        run_command(team=team.slug)
    assert kept(owner_sql, team) == 128
    endpoint.forget()
    said = run_command(team=team.slug)
    assert sum(endpoint.sizes) == 200 - 128
    assert len(said) >= 2
    assert all(re.fullmatch(rf"{team.slug}: \d+ of 72 rows, \d+ a second", line) for line in said)
    assert said[-1].startswith(f"{team.slug}: 72 of 72 ")
    assert kept(owner_sql, team) == 200
    endpoint.forget()
    assert run_command(team=team.slug)[-1].startswith(f"{team.slug}: 0 of 0 ")
    assert endpoint.requests == []


def test_another_model_begins_anew(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any, settings: LazySettings
) -> None:
    remember(api, "the jet was postponed", "a plane")
    embed(team)
    settings.EMBEDDINGS_MODEL = "another"
    assert found(api, "late flight", mode="semantic") == []  # vectors of two models cannot be compared
    endpoint.forget()
    run_command(team=team.slug)
    assert endpoint.sizes == [2]
    assert len(found(api, "late flight", mode="semantic")) == 2
    assert kept(owner_sql, team) == 2


def test_an_index_made_anew_has_its_vectors_made_anew(team: Team, api: Api, endpoint: Endpoint, owner_sql: Any) -> None:
    remember(api, "the jet was postponed", "a plane")
    embed(team)
    call_command("reindex_search", team=team.slug)
    assert kept(owner_sql, team) == 0
    embed(team)
    assert kept(owner_sql, team) == 2


def test_the_command_tells_what_the_endpoint_refuses(team: Team, api: Api, endpoint: Endpoint, owner_sql: Any) -> None:
    remember(api, "poison", "a plane")
    endpoint.refuses = "poison"
    assert run_command(team=team.slug)[-1] == (
        f"{team.slug}: refused by the endpoint: 1; they are retried with backoff."
    )
    assert kept(owner_sql, team) == 1


def test_the_command_refuses_what_it_cannot_do(team: Team) -> None:
    with pytest.raises(CommandError, match="No embeddings endpoint is configured"):
        run_command(team=team.slug)


@pytest.fixture
def plain_database(owner_sql: psycopg.Connection[Any]) -> Iterator[dict[str, str]]:
    """What leads to a database of a server without pgvector, as far as its owner is concerned."""
    name = f"{owner_sql.info.dbname}_plain"
    owner_sql.execute(f"create database {name} template template0")
    yield {
        variable: os.environ[variable].rpartition("/")[0] + f"/{name}"
        for variable in ("DATABASE_URL", "DATABASE_OWNER_URL")
    }
    drop_database(owner_sql, name)


def test_without_pgvector_the_migrations_pass_and_the_command_says_what_is_missing(
    plain_database: dict[str, str],
) -> None:
    done = manage("migrate", "--database", "owner", **plain_database)
    assert done.returncode == 0, done.stderr
    configured = {**plain_database, "EMBEDDINGS_URL": "http://127.0.0.1:1/v1", "EMBEDDINGS_MODEL": "m"}
    done = manage("reindex_vectors", **configured)
    assert done.returncode == 1
    assert "has no pgvector that its owner may use" in done.stderr
    done = manage("reindex_vectors", **{**configured, "DATABASE_OWNER_URL": ""})
    assert "set DATABASE_OWNER_URL for this command" in done.stderr


def test_what_was_written_before_an_endpoint_was_configured_is_sent_too(
    team: Team, api: Api, endpoint: Endpoint, owner_sql: Any
) -> None:
    remember(api, "the jet was postponed")
    catch_up(team.id)
    assert owner_sql.execute("select count(*) from search_vector_due where team_id = %s", [team.id]).fetchone() == (0,)
    embed(team)
    assert len(found(api, "late flight", mode="semantic")) == 1
