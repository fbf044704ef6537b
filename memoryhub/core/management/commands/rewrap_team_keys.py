"""manage.py rewrap_team_keys: wrap the teams' data keys by the current master key, so that an old one can go."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from memoryhub.core.actions import teams
from memoryhub.core.management.arguments import installation, owner_cursor, refusals
from memoryhub.core.secrecy import sealing


class Command(BaseCommand):
    help = (
        "Wrap every team's data keys by the first key of MASTER_KEY, as the owner of the database. All processes must "
        "know that key by now; afterwards the old ones behind it can be taken out. Safe to repeat and to break off."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        master, key = next(iter(settings.MASTER_KEYS.items()))
        done = 0
        with owner_cursor() as cursor, refusals():
            teams.rewrap_keys(installation(), master=master)
            cursor.execute("select id, team_id, master, wrapped from team_key where master <> %s order by id", [master])
            for key_id, team, old, wrapped in cursor.fetchall():
                row = sealing.DataKey(key_id, team, old, bytes(wrapped))
                try:
                    anew = sealing.wrap(sealing.unwrap(row), team, master, key)
                except sealing.CLOSED:
                    raise CommandError(f"MASTER_KEY does not hold the key {old!r} that wrapped a data key.") from None
                cursor.execute(
                    "update team_key set master = %s, wrapped = %s where id = %s and wrapped = %s",
                    [master, anew, key_id, wrapped],
                )
                done += cursor.rowcount
        self.stderr.write(f"{done} data keys are wrapped anew, by the master key {master}.")
