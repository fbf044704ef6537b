"""The lives of a ledger: which of the numbers that clients hold are still of its history (ADR 10).

A ledger can be given another history: a standby that lacked the last commits is promoted, or a backup is put back. Its
history up to the fork stays. From there on it numbers in a new life, whose numbers nobody was ever told. So a cursor
is good where a life that it may be of was kept, whoever holds it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

log = structlog.get_logger(__name__)

BITS = 40  # life n numbers from n * 2^40 on: `seq >> BITS` is the life of a number
TOKEN_BITS = 32  # fencing tokens likewise, from n * 2^32 on

# ledger_life_now() of the team, without a call where nothing has changed.
NOW = """
coalesce((select case when pg_is_in_recovery() then l.ordinal
                      when l.timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) then l.ordinal
                      else ledger_life_now(l.team_id) end
          from ledger_life l where l.team_id = %(team)s::int order by l.ordinal desc limit 1), 0)
"""
# Of the team: its lives as (ordinal, fork), the oldest first, the last number, and the life of the next event.
SPAN = """
select t.feed_floor, coalesce((select seq from event_seq where team_id = t.id order by seq desc limit 1), 0),
       coalesce((select array_agg(array[l.ordinal, l.from_seq] order by l.ordinal)
                 from ledger_life l where l.team_id = t.id), '{}'),
       ledger_life_now(t.id), pg_is_in_recovery()
from team t where t.id = %(team)s::int
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A team's ledger as it stands: its last `seq`, the floor that pruning has raised, its life, and its forks.

    `is_growing`: the server is a standby, or replays a backup; what it will have in the end is not known.
    """

    floor: int
    head: int
    life: int
    forks: tuple[tuple[int, int], ...]
    is_growing: bool = False

    @classmethod
    def of(cls, row: Sequence[Any]) -> "Ledger":
        """From the row of SPAN. A fork is there as soon as the server is another, before the first event after it."""
        floor, head, found, life, is_growing = row
        forks = tuple((int(ordinal), int(fork)) for ordinal, fork in found) or ((0, 0),)
        if life > forks[-1][0]:
            forks += ((life, head),)
        return cls(floor, head, life, forks, is_growing)

    def fork_before(self, seq: int) -> int | None:
        """The last number that a reader up to `seq` has heard of this history, where `seq` is of a lost one."""
        return next((fork for ordinal, fork in self.forks if fork < seq <= ordinal << BITS), None)

    def position(self, seq: int) -> int:
        """How many events there are up to `seq`."""
        return sum(max(0, min(seq, end) - begin) for begin, end in self._spans())

    def at(self, position: int) -> int:
        """The number of the event at this position, the first at 1; 0 for what is before it."""
        for begin, end in self._spans():
            if position <= end - begin:
                return begin + position if position > 0 else 0
            position -= max(0, end - begin)
        return self.head

    def _spans(self) -> list[tuple[int, int]]:
        """Of each life, the number before its first and the last that is kept."""
        ends = [fork for _, fork in self.forks[1:]] + [self.head]
        return [(ordinal << BITS, end) for (ordinal, _), end in zip(self.forks, ends, strict=True)]


# What a process remembers by ids that another history may give to something else.
_caches: list[Callable[[], object]] = []
_lives: dict[int, int] = {}
_server = ""


def forgets(forget: Callable[[], object]) -> None:
    """Call `forget` when a ledger begins a new life, or the database is served by another server."""
    _caches.append(forget)


def notice(server: str, team: int, life: int) -> None:
    """A transaction of this team has met this server (told by its start), and this life."""
    global _server
    if server == _server and _lives.setdefault(team, life) == life:
        return
    if _server:
        log.warning("ledger_met_anew", team=team, life=life, was=_lives.get(team))
    if server != _server:
        _lives.clear()
    _server, _lives[team] = server, life
    for forget in _caches:
        forget()
