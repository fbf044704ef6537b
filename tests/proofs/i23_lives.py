"""I23: what a client holds of another life of the ledger is told so, and nobody before the fork is disturbed.

A system whose database is given another history under it, in each of the ways there are. Before that, clients read at
every door: some stop before the fork, some hear what is then lost, some stay connected. Afterwards more is written than
was lost, so that plain numbers would be given twice, and each client goes on with the integer that it kept, or with its
connection. Judged by the ledger: whoever heard what is lost is told, and then hears everything after the fork; whoever
did not is served everything, unasked. ETags and lease tokens of what is lost fit nothing.

The control is the same system numbering as it did before lives: its clients must lose rows in silence.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module

from tests.proofs.i23_clients import DOORS, Connected, Held
from tests.proofs.i23_servers import Lab, until
from tests.proofs.i23_world import World, is_ready

KEPT, LOST, NEW = 12, 15, 40  # events; of the new ones the first are numbered, plainly, as those that were lost
BITS = 40


@dataclass
class Seen:
    """What the judge saw of one fork. `unheard`: events that a client neither got nor was told of, by client."""

    life: tuple[int, int]
    fork: int
    unheard: dict[str, int] = field(default_factory=dict)
    untold: list[str] = field(default_factory=list)  # who heard what is lost and was not told
    disturbed: list[str] = field(default_factory=list)  # who did not, and was told, or got something else
    fitted: list[str] = field(default_factory=list)  # what of a lost history was taken
    told: int = 0

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        unheard = [f"{name}: {count} unheard" for name, count in self.unheard.items() if count]
        return [*unheard, *self.untold, *self.disturbed, *self.fitted]


def fork(world: World, way: Callable[[Lab, Callable[[], None]], None]) -> Seen:
    """Give the ledger another history in this way, and judge what its clients were told."""
    life = world.send("GET", "me").json()["life"]
    held = Held(world)
    world.log(KEPT)
    kept, _ = world.heads()
    before = {"at the fork": kept, "before the fork": kept - KEPT // 2}
    lost: list[int] = []
    connected = Connected(world)

    def lose() -> None:
        connected.begin(kept)
        held.lose()
        world.log(LOST)
        lost.append(world.heads()[0])
        connected.wait_for(lost[0])

    way(world.lab, lose)
    until(lambda: is_ready(world.url), "the web process does not come back")
    world.log(NEW)
    held.judge()
    head, heard = world.heads()
    seen = Seen((life, world.send("GET", "me").json()["life"]), kept, fitted=held.faults)
    if not (min(seq for seq in heard if seq > kept) >> BITS) == seen.life[1] > life:
        seen.fitted.append(f"the new events are not of a new life: {seen.life}, {heard[-1]}")
    judge_connected(connected, seen, heard)
    for name, door in DOORS.items():
        for when, cursor in before.items():
            answered = door(world, cursor, head)
            if answered != [seq for seq in heard if seq > cursor]:
                seen.disturbed.append(f"{name}, {when}")
        for when, cursor in {"at the end": lost[0], "after a few": kept + 2}.items():
            answered = door(world, cursor, head)
            if isinstance(answered, int):
                seen.told += 1
                answered = door(world, answered, head)
            else:
                seen.untold.append(f"{name}, {when}")
            due = [seq for seq in heard if seq > kept]
            seen.unheard[f"{name}, {when}"] = len(set(due) - set(answered if isinstance(answered, list) else []))
    return seen


def judge_connected(connected: Connected, seen: Seen, heard: list[int]) -> None:
    """Those who heard what is lost were told while they were connected; the other team's stream just went on."""
    world, due = connected.world, {seq for seq in heard if seq > seen.fork}
    with suppress(AssertionError):
        until(lambda: {"stream", "socket", "long poll"} <= connected.told.keys(), "")
        seen.told += 3
    seen.untold += [f"connected: {name}" for name in ("stream", "socket", "long poll") if name not in connected.told]
    if connected.told.get("socket") is not None:
        with suppress(AssertionError):
            until(lambda: due <= set(connected.heard["socket"]), "")
        seen.unheard["connected: socket"] = len(due - set(connected.heard["socket"]))
    for name, floor in connected.told.items():
        if floor != seen.fork:
            seen.disturbed.append(f"connected: {name} is told {floor}, not the fork {seen.fork}")
    world.send("POST", "observations", {"content": "x", "task": "t"}, as_calm=True).raise_for_status()
    with suppress(AssertionError):
        until(lambda: bool(connected.heard["calm"]), "")
    if len(connected.heard["calm"]) != 1 or "calm" in connected.told:
        seen.disturbed.append("connected: the stream of the team that lost nothing")
    connected.end()


def take_lives_away(world: World) -> None:
    """The control's server: it numbers as it did before lives, and knows of one only."""
    migration = import_module("memoryhub.core.migrations.0006_lives_of_the_ledger")
    with world.lab.sql() as owner:
        owner.execute(migration.NUMBER_AS_BEFORE)
        owner.execute("create or replace function ledger_life_now(of_team int) returns int language sql as 'select 0'")


def plain(world: World, way: Callable[[Lab, Callable[[], None]], None]) -> dict[str, int]:
    """Of a server without lives: how many events each client, with the integer that it kept, never hears of."""
    world.log(KEPT)
    kept, _ = world.heads()
    lost: list[int] = []

    def lose() -> None:
        world.log(LOST)
        lost.append(world.heads()[0])

    way(world.lab, lose)
    until(lambda: is_ready(world.url), "the web process does not come back")
    world.log(NEW)
    head, heard = world.heads()
    due = {seq for seq in heard if seq > kept}
    unheard = {}
    for name, door in DOORS.items():
        answered = door(world, lost[0], head)
        unheard[name] = 0 if isinstance(answered, int) else len(due - set(answered))
    return unheard
