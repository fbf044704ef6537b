"""A team's past for tests that cannot wait for it: what is done now is moved to when it is to have been."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from memoryhub.core.ids import first_id_at
from memoryhub.core.models import Team

# Whose rows name the event that made them; and columns that name another one.
CLOCKED = ("event_seq", "task", "observation", "decision", "escalation", "escalation_note", "escalation_answer")
NAMING = [(table, "event_id") for table in CLOCKED]
NAMING += [("task", "change_id"), ("escalation", "change_id"), ("escalation_answer", "given_id")]


class History:
    """Moves what a team did since the last time into the past, as the owner of the database."""

    def __init__(self, owner_sql: psycopg.Connection[Any], team: Team) -> None:
        self._sql, self._team, self._seq = owner_sql, team.id, 0

    def at(self, moment: str) -> None:
        """All that happened since the last call did so at this moment (RFC 3339), in the order in which it did."""
        when = datetime.fromisoformat(moment)
        asked = [self._team, self._seq]
        events = self._sql.execute(
            "select seq, event_id from event_seq where team_id = %s and seq > %s order by seq", asked
        ).fetchall()
        assert events, "nothing happened"
        for step, (seq, event) in enumerate(events):
            moved = UUID(int=first_id_at(when + timedelta(milliseconds=step)).int | (event.int & (1 << 80) - 1))
            self._sql.execute("update event set id = %s, at = %s where id = %s", [moved, when, event])
            for table, column in NAMING:
                self._sql.execute(f"update {table} set {column} = %s where {column} = %s", [moved, event])
            self._seq = seq
