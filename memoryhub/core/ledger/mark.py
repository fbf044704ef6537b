"""The mark: how far this installation's ledgers have come, kept beside the master key and apart from the database.

A database that was put back from a copy of its files says nothing of it. The mark does: it is ahead of such a ledger,
and nothing starts until somebody says that what is lost is lost (`manage.py new_life`, ADR 10).
"""

import json
from typing import NamedTuple

import structlog
from django.conf import settings

from memoryhub.core.db.statements import run
from memoryhub.core.ledger.lives import BITS
from memoryhub.run.embedded import write_private

log = structlog.get_logger(__name__)

FILE = "ledger.mark"  # in MEMORYHUB_DATA
# Flushed before it is told: what a crash may take back is not marked.
_HEADS = "select team, head, ordinal, life, is_moved from ledger_heads()"
_FLUSH = "select pg_logical_emit_message(false, '', '', true)"
_DATABASE = """
select (select system_identifier from pg_control_system()) || '/' || oid || '/' || 'public.event'::regclass::oid
from pg_database where datname = current_database()
"""


class LedgerHead(NamedTuple):
    """A team's ledger: its last number, its newest life and that of its next event, whether it came here by a dump."""

    team: int
    head: int
    ordinal: int
    life: int
    is_moved: bool


class Mark(NamedTuple):
    """Of which database, and the last number of each team."""

    database: str
    heads: dict[int, int]

    @property
    def life(self) -> int:
        """The greatest life that was marked."""
        return max((head >> BITS for head in self.heads.values()), default=0)


def read_heads() -> list[LedgerHead]:
    """How far each ledger has come."""
    return [LedgerHead(*row) for row in run(_HEADS)]


def read_mark() -> Mark | None:
    """The mark that was left; None where there is none."""
    try:
        kept = json.loads((settings.DATA / FILE).read_text())
        return Mark(kept["database"], {int(team): int(head) for team, head in kept["heads"].items()})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        log.warning("mark_unreadable", error=type(error).__name__)
        return None


def is_behind() -> bool:
    """Whether a ledger of this very database lacks numbers that were given, and would give them again."""
    mark = read_mark()
    if mark is None or mark.database != _database():
        return False
    found = {head.team: head for head in read_heads()}
    missing = LedgerHead(0, 0, 0, 0, False)
    return any(
        found.get(team, missing).head < marked and found.get(team, missing).life <= marked >> BITS
        for team, marked in mark.heads.items()
    )


def write_mark(*, anew: bool = False) -> None:
    """Mark how far the ledgers have come; not where the mark is ahead of them, unless it is made `anew`."""
    heads = {head.team: head.head for head in read_heads()}
    run(_FLUSH)
    made = Mark(_database(), heads)
    if made == read_mark():
        return
    if not anew and is_behind():
        log.error("ledger_is_behind_its_mark", file=FILE)
        return
    write_private(settings.DATA / FILE, json.dumps({"database": made.database, "heads": made.heads}))


def _database() -> str:
    ((found,),) = run(_DATABASE)
    return str(found)
