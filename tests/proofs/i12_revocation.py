"""I12: a right that is taken away is gone: over HTTP at once, on sockets and long polls within 2 s, and no frame after.

People watch a task that is written to all the time. While they do, their clearance is lowered, they are logged out,
deactivated, given a new password; agents wait for answers, and their keys are revoked. The control is the same server
without its sweep, whose sockets must go on for longer than they may.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import httpx2
import orjson
from django.conf import settings
from django.db import connection
from websockets.exceptions import ConnectionClosed

from agents.actions import keys
from agents.models import ApiKey
from memoryhub.core.actions import memberships, people
from memoryhub.core.models import Event, Role, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.memory.actions import observations
from memoryhub.memory.models import Task
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.desk_socket import open_socket
from tests.support.factories import Person, TestAgent, installation, make_agent, make_person, make_team
from tests.support.labelled_world import ask, make_task
from tests.support.signing_in import sign_in

MOST_SECONDS = 2.0
LEVELS = (Sensitivity.PUBLIC, Sensitivity.INTERNAL)


@dataclass
class Watched:
    """One person's socket: what came and when, and how it ended."""

    person: Person
    how: str
    session: str = ""
    frames: list[tuple[float, int]] = field(default_factory=list)  # when, seq
    revoked_at: float = 0.0
    ended_at: float | None = None
    code: int | None = None
    page_after: int = 0  # what a page is answered right after


@dataclass
class Result:
    """What the harness saw. `late`: frames more than 2 s after; `forbidden`: frames above the new clearance."""

    people: int
    frames: int
    late: int
    forbidden: int
    still_open: int
    wrong_codes: int
    pages_after: int
    slowest: float
    waits: int
    waits_late: int


def _change(person: Person, *, clearance: int, is_active: bool) -> None:
    memberships.change(
        system_viewer(person.membership.team_id),
        member=person.membership,
        role=Role.SUPPORT,
        clearance=clearance,
        compartments=[],
        is_active=is_active,
    )


def _lower(one: Watched) -> None:
    _change(one.person, clearance=Sensitivity.PUBLIC, is_active=True)


def _expel(one: Watched) -> None:
    _change(one.person, clearance=Sensitivity.INTERNAL, is_active=False)


def _deactivate(one: Watched) -> None:
    actor = one.person.actor
    people.change(
        installation(),
        person=actor,
        email="",
        is_active=False,
        is_staff=actor.is_staff,
        is_superuser=False,
    )


def _set_password(one: Watched) -> None:
    people.set_password(installation(), person=one.person.actor, password="another long passphrase 7")


def _log_out(one: Watched) -> None:
    import_module(settings.SESSION_ENGINE).SessionStore(one.session).flush()


WAYS: dict[str, Callable[[Watched], None]] = {
    "lower": _lower,
    "expel": _expel,
    "deactivate": _deactivate,
    "password": _set_password,
    "log out": _log_out,
}


def run(url: str, each: int, *, seed: int = 1) -> Result:
    """Revoke the rights of `each` people in each way, and of as many keys, under traffic."""
    dice = random.Random(seed)
    team = make_team("i12")
    writer = make_agent(team).viewer
    task = make_task(writer, Sensitivity.PUBLIC)
    watched = [Watched(make_person(team), how) for how in WAYS for _ in range(each)]
    waiting = [make_agent(team) for _ in range(each)]
    over = threading.Event()
    threads = [threading.Thread(target=_write, args=(writer, task, over))]
    threads += [
        threading.Thread(target=_watch, args=(url, team, task, one, over, dice.random() * 2)) for one in watched
    ]
    seconds: list[float] = []
    threads += [threading.Thread(target=_wait, args=(url, team, agent, seconds, dice.random())) for agent in waiting]
    for thread in threads:
        thread.start()
    for thread in threads[1 + len(watched) :]:
        thread.join()
    deadline = time.monotonic() + 2 + 2 * MOST_SECONDS
    while time.monotonic() < deadline and any(one.ended_at is None for one in watched):
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    return _judge(team, watched, seconds)


def _write(viewer: Viewer, task: Task, over: threading.Event) -> None:
    number = 0
    while not over.wait(0.01):
        number += 1
        label = LEVELS[number % 2]
        observations.log(viewer, item=NewObservation(content=f"event {number}", task=task.key, sensitivity=label))
    connection.close()


def _watch(url: str, team: Team, task: Task, one: Watched, over: threading.Event, after: float) -> None:
    one.session = sign_in(one.person)
    revoker = threading.Thread(target=_revoke, args=(url, one, after))
    with open_socket(url, team.slug, one.session) as socket:
        socket.send(orjson.dumps({"after": 0, "task": str(task.id)}).decode())
        while not over.is_set():
            try:
                frame = orjson.loads(socket.recv(timeout=0.2))
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                one.ended_at, one.code = time.monotonic(), closed.rcvd.code if closed.rcvd else None
                break
            if frame["type"] == "ready":
                revoker.start()
            if frame["type"] == "event":
                one.frames.append((time.monotonic(), frame["seq"]))
    revoker.join()
    connection.close()


def _revoke(url: str, one: Watched, after: float) -> None:
    time.sleep(after)
    WAYS[one.how](one)
    one.revoked_at = time.monotonic()
    cookie = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={one.session}"}
    one.page_after = httpx2.get(f"{url}/", headers=cookie, timeout=30).status_code
    connection.close()


def _wait(url: str, team: Team, agent: TestAgent, seconds: list[float], after: float) -> None:
    """An agent waits for an answer; its key is revoked meanwhile. How long it still waited: too long unless refused."""
    asked = ask(agent.viewer, make_task(agent.viewer))
    ended: list[tuple[int, float]] = []

    def wait() -> None:
        address = f"{url}/api/v1/escalations/{asked.id}/answer?wait=6"
        ended.append((httpx2.get(address, headers=agent.headers, timeout=60).status_code, time.monotonic()))

    waiter = threading.Thread(target=wait)
    waiter.start()
    time.sleep(1 + after)
    keys.revoke(system_viewer(team.id), key=ApiKey.objects.get(id=agent.key_id))
    revoked_at = time.monotonic()
    at_once = httpx2.get(f"{url}/api/v1/me", headers=agent.headers, timeout=30).status_code
    waiter.join()
    (status, at) = ended[0]
    seconds.append(at - revoked_at if (status, at_once) == (401, 401) else 1000.0)
    connection.close()


def _judge(team: Team, watched: list[Watched], seconds: list[float]) -> Result:
    levels, changed = _ledger(team)
    return Result(
        people=len(watched),
        frames=sum(len(one.frames) for one in watched),
        late=sum(at > one.revoked_at + MOST_SECONDS for one in watched for at, _ in one.frames),
        # In the ledger's own order: what was committed after the change is not for who lost the clearance by it.
        forbidden=sum(
            levels[seq] > Sensitivity.PUBLIC and seq > changed[str(one.person.membership.id)]
            for one in watched
            if one.how == "lower"
            for _, seq in one.frames
        ),
        still_open=sum(one.ended_at is None for one in watched),
        wrong_codes=sum(one.code not in (4403, None) for one in watched),
        pages_after=sum(one.page_after == 200 and one.how != "lower" for one in watched),
        slowest=max(((one.ended_at or time.monotonic()) - one.revoked_at for one in watched), default=0.0),
        waits=len(seconds),
        waits_late=sum(found > MOST_SECONDS for found in seconds),
    )


def _ledger(team: Team) -> tuple[dict[int, int], dict[str, int]]:
    """`seq` -> sensitivity, and membership -> the `seq` at which it was changed."""
    with viewer_transaction(system_viewer(team.id), read_only=True):
        rows: Any = Event.objects.filter(team=team).values_list("clock__seq", "label__sensitivity", "type", "row_id")
        found = list(rows)
    levels = {seq: level for seq, level, _, _ in found}
    return levels, {str(row): seq for seq, _, type_, row in found if type_ == "membership.change"}
