"""I5: a POST with an Idempotency-Key has one effect and one answer, however often it is sent and wherever it is cut.

Each POST goes to the product's web process over sockets of its own, one to three times: one after another, all at once,
or cut off: the request is sent, or nearly all of it, and the connection closed or reset before anything is read. Each
is about a task of its own, so what the ledger has of that task is what the POST has done. The control sends no key.

All answers to one POST are compared: status, headers, every value. Nothing in them may move, for nobody else touches
these tasks, and their leases are longer than the run. Left out are Date and X-Request-Id, which are of the request, and
the order of an object's members, which means nothing (RFC 8259) and is another where a batch is replayed.
"""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
from django.db import connection

from agents.models import Scope
from escalations.actions import answers, claims
from memoryhub.core.ids import new_id
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions import decisions, leases
from memoryhub.memory.actions import tasks as task_actions
from memoryhub.memory.models import Task
from memoryhub.memory.schemas.decisions import NewDecision
from memoryhub.memory.schemas.tasks import NewTask
from tests.support.factories import TestAgent, make_agent, make_person, make_team
from tests.support.labelled_world import ask as escalate

THREADS = 8
LEASE = 3600
ASKED = {"reason_code": "other", "reason": "No rule fits.", "question": "What now?"}
WAYS = ("once", "in turn", "at once", "cut")
UNKNOWN = (429, 503)  # refused for now: the client sends it again
OF_A_REQUEST = ("date", "x-request-id")


class Post(NamedTuple):
    """A POST about a task of its own. `events`: how many its one effect leaves in the ledger."""

    kind: str
    path: str
    body: Any
    task: str
    events: int = 1


@dataclass
class Sent:
    """What came of one POST: its answers, and the cuts. `landed`: it was done before it was sent for the last time."""

    post: Post
    way: str
    answers: list[tuple[int, str]] = field(default_factory=list)
    cuts: int = 0
    landed: bool = False
    refused: int = 0
    effects: int = 0

    @property
    def is_double(self) -> bool:
        return self.effects > self.post.events

    @property
    def is_lost(self) -> bool:
        return self.effects < self.post.events

    @property
    def is_at_odds(self) -> bool:
        """Whether it was answered differently, or not as done."""
        return len(set(self.answers)) != 1 or self.answers[0][0] not in (200, 201)


def _held(viewer: Viewer, task: Task) -> dict[str, int]:
    return {"token": leases.claim(viewer, task=task, ttl_seconds=LEASE).token}


def _over(viewer: Viewer, task: Task) -> None:
    leases.complete(viewer, task=task, token=_held(viewer, task)["token"])


def _decided(viewer: Viewer, task: Task) -> UUID:
    item = NewDecision(task=task.key, decision={"do": "refund"}, reasoning="It is due.")
    return decisions.record(viewer, item=item)[0]


def _answered(viewer: Viewer, person: Viewer, task: Task) -> UUID:
    made = escalate(viewer, task)
    claims.claim(person, escalation_id=made.id)
    return answers.decide(person, escalation_id=made.id, verdict="respond", message="Yes.").id


Make = Callable[[Viewer, Viewer, Task], tuple[str, Any]]


def _reopen(viewer: Viewer, person: Viewer, task: Task) -> tuple[str, Any]:
    _over(viewer, task)
    return f"tasks/{task.key}/reopen", {"reason": "It came back."}


# Of each kind the address and body, when its task is as it must be.
KINDS: dict[str, Make] = {
    "observe": lambda viewer, person, task: ("observations", {"task": task.key, "content": "seen", "tags": ["x"]}),
    "batch": lambda viewer, person, task: (
        "observations/batch",
        {"items": [{"task": task.key, "content": {"n": number}} for number in range(3)]},
    ),
    "decide": lambda viewer, person, task: (
        "decisions",
        {"task": task.key, "decision": {"do": "refund"}, "reasoning": "It is due."},
    ),
    "supersede": lambda viewer, person, task: (
        f"decisions/{_decided(viewer, task)}/supersede",
        {"decision": {"do": "wait"}, "reasoning": "It is not due yet."},
    ),
    "revoke": lambda viewer, person, task: (f"decisions/{_decided(viewer, task)}/revoke", {"reason": "It was wrong."}),
    "learn": lambda viewer, person, task: (
        "learnings",
        {"task": task.key, "signal_type": "pattern", "details": "Ask first.", "context": {"kind": "refund"}},
    ),
    "alert": lambda viewer, person, task: ("alerts", {"to": "all", "insight": "Hold all deals.", "task": task.key}),
    "claim": lambda viewer, person, task: (f"tasks/{task.key}/claim", {"ttl_seconds": LEASE}),
    "claim next": lambda viewer, person, task: (
        "tasks/claim-next",
        {"metadata": {"only": task.key}, "ttl_seconds": LEASE},
    ),
    "renew": lambda viewer, person, task: (
        f"tasks/{task.key}/renew",
        {**_held(viewer, task), "ttl_seconds": LEASE},
    ),
    "release": lambda viewer, person, task: (f"tasks/{task.key}/release", _held(viewer, task)),
    "complete": lambda viewer, person, task: (f"tasks/{task.key}/complete", _held(viewer, task)),
    "fail": lambda viewer, person, task: (f"tasks/{task.key}/fail", {**_held(viewer, task), "outcome": {"why": "x"}}),
    "reopen": _reopen,
    "escalate": lambda viewer, person, task: ("escalations", {"task": task.key, **ASKED}),
    "cancel": lambda viewer, person, task: (f"escalations/{escalate(viewer, task).id}/cancel", {"reason": "Solved."}),
    "acknowledge": lambda viewer, person, task: (f"escalations/{_answered(viewer, person, task)}/acknowledge", {}),
}
MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello."}]


@dataclass(frozen=True)
class Stage:
    """A team, an agent for each sender, and what is to be sent."""

    team: int
    agents: list[TestAgent]
    posts: list[Post]


def make_stage(count: int) -> Stage:
    """So many POSTs, of every kind in turn."""
    team = make_team("repeats")
    made = [make_agent(team, scopes=Scope.values) for _ in range(THREADS)]
    person = make_person(team).viewer
    viewers = [agent.viewer for agent in made]
    kinds = [*KINDS, "create", "import"]
    posts = [_post(viewers[number % THREADS], person, kinds[number // THREADS % len(kinds)]) for number in range(count)]
    return Stage(team.id, made, posts)


def _post(viewer: Viewer, person: Viewer, kind: str) -> Post:
    key = f"t-{new_id()}"
    if kind == "create":
        return Post(kind, "tasks", {"key": key, "title": "A task"}, key)
    if kind == "import":
        run = {"task_id": key, "messages": MESSAGES}
        return Post(kind, "import/trajectories", {"runs": [run]}, key, events=4)  # created, claimed, logged, completed
    task, _ = task_actions.create(viewer, item=NewTask(key=key, title="A task", metadata={"only": key}))
    path, body = KINDS[kind](viewer, person, task)
    return Post(kind, path, body, key)


def run(url: str, stage: Stage, owner: psycopg.Connection[Any], *, keyed: bool = True, seed: int = 1) -> list[Sent]:
    """Send everything, from several threads; what came of each. Without `keyed` no Idempotency-Key goes along."""
    before = _events(owner, stage.team)
    lock = threading.Lock()

    def landed(post: Post) -> bool:
        with lock:
            return _events(owner, stage.team, post.task)[post.task] > before[post.task]

    def sender(number: int) -> list[Sent]:
        dice = random.Random(seed * 1000 + number)
        address = urlsplit(url)
        door = _Door(str(address.hostname), int(address.port or 80), stage.agents[number].key, dice, landed)
        try:
            return [door.send(post, keyed=keyed) for post in stage.posts[number::THREADS]]
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        done = [sent for found in pool.map(sender, range(THREADS)) for sent in found]
    after = _events(owner, stage.team)
    for sent in done:
        sent.effects = after[sent.post.task] - before[sent.post.task]
    return done


def _events(owner: psycopg.Connection[Any], team: int, key: str | None = None) -> Counter[str]:
    """How many events there are of each task (by key)."""
    found = owner.execute(
        "select t.key, count(*) from task t join event e on e.task_id = t.id"
        " where t.team_id = %(team)s and (%(key)s::text is null or t.key = %(key)s) group by t.key",
        {"team": team, "key": key},
    )
    return Counter(dict(found.fetchall()))


class _Door:
    """Sends one POST as often, and in such ways, as the dice say."""

    def __init__(self, host: str, port: int, key: str, dice: random.Random, landed: Callable[[Post], bool]) -> None:
        self.at, self.key, self.dice, self.landed = (host, port), key, dice, landed

    def send(self, post: Post, *, keyed: bool) -> Sent:
        request = self._request(post, str(new_id()) if keyed else None)
        sent = Sent(post, self.dice.choice(WAYS))
        if sent.way == "at once":
            together = [self._open() for _ in range(self.dice.choice((2, 3)))]
            for one in together:
                one.sendall(request)
            for one in together:
                self._read(one, sent)
        elif sent.way == "cut":
            for _ in range(self.dice.choice((1, 2))):
                self._cut(request, sent)
            if self.dice.random() < 0.5:
                time.sleep(0.05)  # else it is sent again while the first may still be at work
            sent.landed = self.landed(post)
            self._whole(request, sent)
        else:
            for _ in range(1 if sent.way == "once" else self.dice.choice((2, 3))):
                self._whole(request, sent)
        while not sent.answers:  # refused for now, each time
            time.sleep(0.2)
            self._whole(request, sent)
        return sent

    def _request(self, post: Post, key: str | None) -> bytes:
        body = json.dumps(post.body).encode()
        lines = [
            f"POST /api/v1/{post.path} HTTP/1.1",
            f"Host: {self.at[0]}:{self.at[1]}",
            f"Authorization: Bearer {self.key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            *([f"Idempotency-Key: {key}"] if key else []),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _open(self) -> socket.socket:
        return socket.create_connection(self.at, timeout=60)

    def _whole(self, request: bytes, sent: Sent) -> None:
        one = self._open()
        one.sendall(request)
        self._read(one, sent)

    def _cut(self, request: bytes, sent: Sent) -> None:
        one = self._open()
        kind = self.dice.choice(("close", "reset", "half"))
        one.sendall(request[: len(request) - 1] if kind == "half" else request)
        if kind == "reset":
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
        sent.cuts += 1

    def _read(self, one: socket.socket, sent: Sent) -> None:
        with one:
            answer = HTTPResponse(one, method="POST")
            try:
                answer.begin()
                body = answer.read()
            except (OSError, HTTPException):
                sent.cuts += 1
                return
        if answer.status in UNKNOWN:
            sent.refused += 1
            return
        told = sorted((name.lower(), value) for name, value in answer.getheaders() if name.lower() not in OF_A_REQUEST)
        sent.answers.append((answer.status, json.dumps([told, json.loads(body or b"null")], sort_keys=True)))
