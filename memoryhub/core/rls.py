"""Migration operations for labelled tables: row-level security and the composite foreign key to the label.

The policies test the row against the viewer's settings, which core.transactions sets for each transaction.
Without settings they are NULL and no row passes. The sub-selects make the planner work them out once a
statement. RLS is enabled but not forced: the owner, who only migrates and owns definer functions, is exempt.
"""

from django.db.migrations.operations import RunSQL

TEAM = "(select nullif(current_setting('hub.team', true), '')::int)"
LABELS = "((select nullif(current_setting('hub.labels', true), '')::int[])::int[])"
ACTOR = "(select nullif(current_setting('hub.actor', true), '')::uuid)"

# The team's own viewer, which reads the ledger for all.
SYSTEM = "(select coalesce(current_setting('hub.system', true), '') = 'on')"


def policies(table: str, *, also: str = "true") -> RunSQL:
    """All four policies of a labelled table. `also` narrows what may be read, e.g. to the row's author."""
    seen = f"team_id = {TEAM} and label_id = any {LABELS}"
    create = [
        f"alter table {table} enable row level security",
        f"create policy {table}_read on {table} for select using ({seen} and ({also}))",
        f"create policy {table}_make on {table} for insert with check ({seen})",
        f"create policy {table}_change on {table} for update using ({seen}) with check ({seen})",
        f"create policy {table}_drop on {table} for delete using ({seen})",
    ]
    undo = [f"drop policy {table}_{verb} on {table}" for verb in ("read", "make", "change", "drop")]
    return RunSQL(";\n".join(create), ";\n".join([*undo, f"alter table {table} disable row level security"]))


def label_key(table: str) -> RunSQL:
    """The composite foreign key that holds a row's team and sensitivity equal to its label's."""
    return RunSQL(
        f"alter table {table} add constraint {table}_label_fk foreign key (label_id, team_id, sensitivity) "
        f"references label (id, team_id, sensitivity)",
        f"alter table {table} drop constraint {table}_label_fk",
    )
