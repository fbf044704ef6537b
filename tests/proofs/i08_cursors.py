"""I8: a cursor that is too old, or of the future, is told so; every other one is served everything that came after it.

A ledger is pruned again and again while it grows. After each time, cursors of every kind are put to every door that
resumes by `seq`: the feed, its long poll, its stream by header and by parameter, the desk's socket. Each is either told
to start afresh, with the floor, or sent everything; there is no third answer. The control asks the same ledger from
the floor on, as one would without asking whether the cursor still holds, and must lose events in silence.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson
import psycopg

from memoryhub.core.access.labels import ensure_label
from memoryhub.core.actions import feed
from memoryhub.core.ledger import events
from memoryhub.core.models import Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.interface.live.reader import MAX_BEHIND
from memoryhub.memory.actions import observations
from memoryhub.memory.models import Task
from memoryhub.memory.schemas.observations import NewObservation
from tests.support.desk_socket import open_socket
from tests.support.factories import Person, make_agent, make_person, make_team
from tests.support.labelled_world import make_task
from tests.support.signing_in import sign_in
from tests.support.streams import Reader

# A door answers a cursor with the floor that it tells, or with the `seq`s of what it sends.
Answered = int | list[int]
OLD = """
update event e set at = at - interval '100 days' from event_seq s
where s.event_id = e.id and s.team_id = %s and s.seq <= %s
"""


@dataclass
class Result:
    """What the harness saw. `silent`: answers that were neither the truth nor everything, by door."""

    asked: int = 0
    told: int = 0
    served: int = 0
    silent: dict[str, int] = field(default_factory=dict)
    wrong_floors: int = 0
    control_silent: int = 0


@dataclass
class World:
    """A team that is written to, and those who read it; `heard`: the `seq`s of what both readers may see."""

    url: str
    owner: psycopg.Connection[Any]
    team: Team
    writer: Viewer
    task: Task
    person: Person
    session: str
    client: httpx2.Client  # the agent's; one, since each makes its certificates anew
    floor: int = 0
    head: int = 0
    heard: list[int] = field(default_factory=list)

    def look(self) -> None:
        """Read floor, head and ledger as the owner does."""
        rows = self.owner.execute(
            "select s.seq, e.type = 'observation.log' and l.sensitivity < 2 from event_seq s"
            " join event e on e.id = s.event_id join label l on l.id = e.label_id where s.team_id = %s order by s.seq",
            [self.team.id],
        ).fetchall()
        self.head, self.heard = rows[-1][0], [seq for seq, is_heard in rows if is_heard]
        ((self.floor,),) = self.owner.execute("select feed_floor from team where id = %s", [self.team.id]).fetchall()


def run(url: str, owner: psycopg.Connection[Any], rounds: int, *, seed: int = 1) -> Result:
    """Grow, prune and ask, `rounds` times; then with a ledger longer than the most that is resumed."""
    dice, result = random.Random(seed), Result()
    world = make_world(url, owner)
    foreign = make_world(url, owner)
    write(foreign, dice, 300)
    foreign.look()
    for _ in range(rounds):
        write(world, dice, dice.randrange(20, 60))
        world.look()
        prune(world, dice.randrange(world.floor, world.head))
        ask(world, cursors(world, foreign.head, dice), result)
    grow(world)
    edge = world.head - MAX_BEHIND
    ask(world, [edge - 1, edge, edge + 1, world.floor, world.head], result)
    return result


def make_world(url: str, owner: psycopg.Connection[Any]) -> World:
    """A team without anything but its members and a task."""
    team = make_team("i08")
    writer = make_agent(team, 2).viewer
    person = make_person(team)
    agent = make_agent(team)
    client = httpx2.Client(base_url=url, headers=agent.headers, timeout=30)
    return World(url, owner, team, writer, make_task(writer), person, sign_in(person), client)


def write(world: World, dice: random.Random, count: int) -> None:
    """Observations, of which the readers may not see a third."""
    for _ in range(count):
        level = dice.choice((1, 1, 2))
        item = NewObservation(content="x", task=world.task.key, sensitivity=level, compartments=[])
        observations.log(world.writer, item=item)


def prune(world: World, floor: int) -> None:
    """Make everything up to `floor` old, and prune."""
    world.owner.execute(OLD, [world.team.id, floor])
    assert feed.prune(system_viewer(world.team.id)) == floor
    world.look()
    assert world.floor == floor


def grow(world: World) -> None:
    """One observation, and then as many events as are just resumed over with it."""
    dice = random.Random(1)
    write(world, dice, 5)
    with viewer_transaction(world.writer):
        label = ensure_label(world.writer, 1).id
        for _ in range(MAX_BEHIND - 3):
            events.append(world.writer, "task.renew", label=label, row_type="task", row_id=None)
    world.look()


def cursors(world: World, foreign: int, dice: random.Random) -> list[int]:
    """Of every kind: of the future and of another team, too old, at each edge, and good ones."""
    floor, head = world.floor, world.head
    found = {0, floor - 1, floor, floor + 1, head - 1, head, head + 1, head + 10**6, 2**53}
    found |= {max(foreign, head + 1), dice.randrange(head + 1), dice.randrange(floor + 1)}
    return sorted(cursor for cursor in found if cursor >= 0)


def ask(world: World, asked: Iterable[int], result: Result) -> None:
    """Put each cursor to each door, and to the control."""
    for cursor in asked:
        oldest = max(world.floor, world.head - MAX_BEHIND)
        is_good = oldest <= cursor <= world.head
        due = [seq for seq in world.heard if seq > cursor]
        for name, door in DOORS.items():
            answered = door(world, cursor)
            result.asked += 1
            result.silent.setdefault(name, 0)
            if isinstance(answered, int):
                result.told += not is_good
                result.wrong_floors += answered != oldest
                result.silent[name] += is_good  # a good cursor that is sent away is as wrong
            else:
                result.served += is_good
                result.silent[name] += not is_good or answered != due
        result.control_silent += plain(world, cursor) != due if cursor <= world.head else 1


def _poll(world: World, cursor: int, more: str = "") -> Answered:
    found: list[int] = []
    while True:
        reply = world.client.get(f"/api/v1/feed?after={cursor}&limit=100&types=observation{more}")
        if reply.status_code == 410:
            assert reply.json()["code"] == "resync"
            return int(reply.json()["floor"])
        page = reply.raise_for_status().json()
        found += [event["seq"] for event in page["events"]]
        if not page["events"]:
            return found
        cursor, more = page["next"], ""


def _long_poll(world: World, cursor: int) -> Answered:
    return _poll(world, cursor, "&wait=1" if cursor != world.head else "")


def _stream(world: World, cursor: int, query: str = "types=observation", last: int | None = None) -> Answered:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    with world.client.stream("GET", f"/api/v1/feed/stream?{query}", headers=headers) as reply:
        if reply.status_code == 410:
            return int(orjson.loads(reply.read())["floor"])
        assert reply.status_code == 200
        stream, found = Reader(reply, last), []
        while (stream.last or cursor) < world.head:
            message = stream.message()
            found += [message.data["seq"]] if message.event else []
        return found


def _socket(world: World, cursor: int) -> Answered:
    found: list[int] = []
    told: int | None = None
    with open_socket(world.url, world.team.slug, world.session) as socket:
        socket.send(orjson.dumps({"after": cursor, "task": str(world.task.id)}).decode())
        while True:
            frame = orjson.loads(socket.recv(timeout=30))
            if frame["type"] == "resync":
                told = frame["floor"]
            elif frame["type"] == "event" and frame["event"] == "observation.log":
                found.append(frame["seq"])
            elif frame["type"] == "ready":
                return found if told is None else told


DOORS: dict[str, Callable[[World, int], Answered]] = {
    "feed": _poll,
    "long poll": _long_poll,
    "stream by header": lambda world, cursor: _stream(world, cursor, last=cursor),
    "stream by parameter": lambda world, cursor: _stream(world, cursor, f"types=observation&after={cursor}"),
    "socket": _socket,
}


def plain(world: World, cursor: int) -> list[int]:
    """The control: what the pruned feed still has after the cursor, without asking whether that is all."""
    return [seq for seq in world.heard if seq > max(cursor, world.floor)]
