"""What the sweeps go by: which leases have run out, what has expired, and in which teams."""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from memoryhub.core.access.rls import SYSTEM, TEAM

# A sweep belongs to no team, and row-level security shows it nothing: it asks here, as the owner, for the ids of the
# teams where there is work, and goes on as each team's own viewer.
LEASES = """
create function teams_with_leases_run_out() returns setof int language sql stable security definer
set search_path = public, pg_temp as $$
  select distinct team_id from task where not human_owned and lease_expires_at <= statement_timestamp()
$$;
"""
EXPIRED = """
create function teams_with_expired_observations() returns setof int language sql stable security definer
set search_path = public, pg_temp as $$
  select distinct team_id from observation where not pinned and expires_at <= statement_timestamp()
$$;
"""

# Who removes it must see it, also what was private. Nobody is shown by the system's eyes what has expired.
SEEN = f"""
create policy observation_expired on observation for select
using (team_id = {TEAM} and {SYSTEM} and not pinned and expires_at <= statement_timestamp())
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0003_facts")]

    operations: ClassVar[list[Operation]] = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["team", "created_at", "id"],
                name="task_claimable",
                condition=models.Q(
                    human_owned=False, holder__isnull=True, status__in=["open", "in_progress", "blocked"]
                ),
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["lease_expires_at"],
                name="task_run_out",
                condition=models.Q(human_owned=False, lease_expires_at__isnull=False),
            ),
        ),
        migrations.AddIndex(
            model_name="observation",
            index=models.Index(
                fields=["expires_at"],
                name="observation_expiry",
                condition=models.Q(expires_at__isnull=False, pinned=False),
            ),
        ),
        migrations.RunSQL(LEASES, "drop function teams_with_leases_run_out()"),
        migrations.RunSQL(EXPIRED, "drop function teams_with_expired_observations()"),
        migrations.RunSQL(SEEN, "drop policy observation_expired on observation"),
    ]
