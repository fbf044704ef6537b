"""I4: an escalation is claimed by exactly one person, however many try in the same instant.

Threads with connections of their own race the product's `claim` for one escalation after another; each attempt ends as
a win, or as `already_claimed` with the winner's name. The control claims by reading first and writing then.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

from django.db import OperationalError, connection, transaction

from escalations.actions import claims
from escalations.actions.common import save
from escalations.models import Escalation
from escalations.states import CLAIMED, QUEUED
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.db.clock import now
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.tasks import lock as lock_task
from tests.support.factories import make_agent, make_person, make_team
from tests.support.labelled_world import ask, make_task

RACERS = 10

Claim = Callable[[Viewer, UUID], object]


@dataclass
class Race:
    """What came of it: who won which escalation, and whom the losers were told."""

    attempts: int = 0
    won: list[tuple[UUID, str]] = field(default_factory=list)
    told: list[tuple[UUID, str]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def double(self) -> int:
        """Escalations with more than one winner."""
        return sum(count > 1 for count in Counter(escalation for escalation, _ in self.won).values())


def claim(viewer: Viewer, escalation_id: UUID) -> object:
    """The product's."""
    return claims.claim(viewer, escalation_id=escalation_id)


def claim_unlocked(viewer: Viewer, escalation_id: UUID) -> object:
    """The control: looks whether it is free, and writes that it is taken, without a lock between the two."""
    with viewer_transaction(viewer):
        found = visible_to(viewer, Escalation.objects.select_related("owner")).get(id=escalation_id)
        if found.state != QUEUED:
            raise Conflict(Code.ALREADY_CLAIMED, "taken", owner=found.owner.name if found.owner else None)
        found.state, found.owner_id, found.claimed_at = CLAIMED, viewer.membership, now()
        save(viewer, "claim", found)
        return found


def make_escalations(count: int, people: int = RACERS) -> tuple[list[UUID], list[Viewer]]:
    """So many queued escalations of a team, and its people."""
    team = make_team("race")
    made = []
    for number in range(count):
        if number % 500 == 0:  # one agent may have 1,000 open
            agent = make_agent(team).viewer
        made.append(ask(agent, make_task(agent)).id)
    return made, [make_person(team).viewer for _ in range(people)]


def run(escalations: Iterable[UUID], people: list[Viewer], how: Claim) -> Race:
    """All people try to claim each escalation at the same moment, one escalation after another."""
    race, lock = Race(), threading.Lock()
    todo = list(escalations)
    start = threading.Barrier(len(people))

    def racer(person: Viewer) -> None:
        try:
            for escalation in todo:
                start.wait(60)
                _attempt(race, lock, person, escalation, how)
        except BaseException:
            start.abort()
            raise
        finally:
            connection.close()

    with ThreadPoolExecutor(len(people)) as pool:
        for done in [pool.submit(racer, person) for person in people]:
            done.result()
    return race


def _attempt(race: Race, lock: threading.Lock, person: Viewer, escalation: UUID, how: Claim) -> None:
    won, told, other = None, None, None
    try:
        how(person, escalation)
        won = person.name
    except Conflict as refusal:
        told = refusal.extra.get("owner") if refusal.code == Code.ALREADY_CLAIMED else None
        other = None if told else f"{refusal.code}: {refusal.detail}"
    except Exception as error:
        other = type(error).__name__
    with lock:
        race.attempts += 1
        if won:
            race.won.append((escalation, won))
        elif told:
            race.told.append((escalation, told))
        else:
            race.other.append(other or "nothing")


def claim_while_next_looks(escalation: UUID, claimer: Viewer, looker: Viewer) -> list[object]:
    """What both get when `next_free` comes to an escalation whose claimer has locked its task, and not yet itself."""
    got: list[object] = []

    def look() -> None:
        try:
            got.append(claims.next_free(looker))
        except Exception as error:
            got.append(error)
        finally:
            connection.close()

    looking = threading.Thread(target=look)
    with viewer_transaction(claimer):
        task = visible_to(claimer, Escalation.objects.filter(id=escalation)).values_list("task_id", flat=True)[0]
        lock_task(claimer, task)
        looking.start()
        looking.join(0.5)  # by now it waits for the task, or has passed it over
        try:
            got.append(claims.claim(claimer, escalation_id=escalation))
        except OperationalError as error:
            got.append(error)
            transaction.set_rollback(True)
    looking.join()
    return got


def run_next(people: list[Viewer]) -> tuple[list[UUID], int]:
    """All people ask for the next free one until there is none; what they got, and how often they got nothing."""
    got: list[UUID] = []
    lock = threading.Lock()

    def taker(person: Viewer) -> int:
        nothing = 0
        try:
            while nothing < 3:  # one that others are taking just now is passed over, so nothing may be said too early
                found = claims.next_free(person)
                if found is None:
                    nothing += 1
                    continue
                with lock:
                    got.append(found.id)
        finally:
            connection.close()
        return nothing

    with ThreadPoolExecutor(len(people)) as pool:
        return got, sum(pool.map(taker, people))
