"""What the migration of rights makes of an installation of before: nobody has more, nobody is locked out."""

from importlib import import_module
from typing import Any

import psycopg
import pytest

from memoryhub.core.models import SYSTEM_TEAM, Team
from tests.support.factories import make_agent, make_person, make_team, unique

migration = import_module("memoryhub.core.migrations.0009_rights")


@pytest.mark.parametrize("kept", [True, False])
def test_who_administers_is_who_had_both_the_tick_and_the_membership(
    owner_sql: psycopg.Connection[Any], kept: bool
) -> None:
    system = Team.objects.get(slug=SYSTEM_TEAM)
    both, unticked = (make_person(system, "admin", is_staff=True) for _ in range(2))
    ticked = make_person(make_team(), "admin", is_staff=True)
    with owner_sql.transaction(force_rollback=True):
        owner_sql.execute("set local lock_timeout = '10s'")
        owner_sql.execute("alter table actor add column is_superuser bool not null default false")
        ids = [both.actor.id, ticked.actor.id] if kept else [ticked.actor.id]
        owner_sql.execute("update actor set is_superuser = true where id = any(%s)", [ids])
        owner_sql.execute(migration.AGREE)
        active = owner_sql.execute(
            "select actor_id from membership where team_id = %s and role = 'admin' and is_active", [system.id]
        ).fetchall()
        found = {row[0] for row in active}
    # Who was unticked lost nothing so far; if nobody had both, somebody must be able to go on.
    assert (both.actor.id in found, unticked.actor.id in found) == (True, not kept)
    assert ticked.actor.id not in found


def test_compartments_in_use_are_listed_each_once_a_team(owner_sql: psycopg.Connection[Any]) -> None:
    one, two, word = make_team(), make_team(), unique("legal")
    for team in (one, two):
        make_agent(team, 2, [word])
        make_agent(team, 1, [word, "pii"])
    with owner_sql.transaction(force_rollback=True):
        owner_sql.execute("delete from compartment")
        owner_sql.execute(migration.LIST)
        rows = owner_sql.execute(
            "select team_id, name from compartment where team_id = any(%s) order by 1, 2", [[one.id, two.id]]
        ).fetchall()
    assert rows == [(team.id, name) for team in (one, two) for name in sorted([word, "pii"])]
