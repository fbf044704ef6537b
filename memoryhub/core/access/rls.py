"""Migration operations for labelled tables: row-level security and the composite foreign key to the label.

The policies test the row against the viewer's settings, which core.transactions sets for each transaction.
Without settings they are NULL and no row passes. The sub-selects make the planner work them out once a
statement. RLS is enabled but not forced: the owner, who only migrates and owns definer functions, is exempt.
"""

from django.db.migrations.operations import RunSQL

TEAM = "(select nullif(current_setting('hub.team', true), '')::int)"
LABELS = "((select nullif(current_setting('hub.labels', true), '')::int[])::int[])"
ACTOR = "(select nullif(current_setting('hub.actor', true), '')::uuid)"

# Everybody but agents.
PEOPLE = "(select coalesce(current_setting('hub.agent', true), '') <> 'on')"
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


def reading(table: str, also: str, before: str = "true") -> RunSQL:
    """Another condition on what may be read of a table, in place of `before`."""
    seen = f"int4eq(team_id, {TEAM}) and label_id = any {LABELS}"
    forth, back = (f"alter policy {table}_read on {table} using ({seen} and ({part}))" for part in (also, before))
    return RunSQL(forth, back)


def label_key(table: str) -> RunSQL:
    """The composite foreign key that holds a row's team and sensitivity equal to its label's."""
    return RunSQL(
        f"alter table {table} add constraint {table}_label_fk foreign key (label_id, team_id, sensitivity) "
        f"references label (id, team_id, sensitivity)",
        f"alter table {table} drop constraint {table}_label_fk",
    )


def count_withheld(table: str, *, also: str = "true") -> RunSQL:
    """`withheld_<table>(task, up_to)`: how many rows of a task, up to a `seq`, are above the viewer's labels.

    It runs as the tables' owner, and gives nothing but the number. `also`: of the row `r`; `$2` is the `seq`.
    """
    team, labels = (f"nullif(current_setting('hub.{name}', true), '')" for name in ("team", "labels"))
    unseen = f"<> all (coalesce({labels}::int[], '{{}}'))"
    create = f"""
create function withheld_{table}(task uuid, up_to bigint) returns bigint language sql stable security definer
set search_path = public, pg_temp as $$
  -- Nothing to count where every label of the team is visible, which is the usual case.
  select count(*) from {table} r join event_seq s on s.event_id = r.event_id
  where r.task_id = $1 and r.team_id = {team}::int and r.label_id {unseen} and s.seq <= $2 and {also}
    and exists (select from label l where l.team_id = {team}::int and l.id {unseen})
$$;
revoke execute on function withheld_{table}(uuid, bigint) from public
"""
    return RunSQL(create, f"drop function withheld_{table}(uuid, bigint)")


_REWRITE = """
do $do$
declare p record;
begin
  for p in select tablename, policyname, qual from pg_policies
           where schemaname = 'public' and tablename = any ('{{{tables}}}') and qual ~ $re${old}$re$ loop
    execute format('alter policy %I on %I using (%s)', p.policyname, p.tablename,
                   regexp_replace(p.qual, $re${old}$re$, $re${new}$re$, 'g'));
  end loop;
end $do$
"""
# As PostgreSQL writes them out again.
_SETTING = (
    r"""\( SELECT \(NULLIF\(current_setting\('hub\.team'::text, true\), ''::text\)\)::integer(?: AS "nullif")?\)"""
)
_OPERATOR = (rf"\(([a-z_.]*team_id) = ({_SETTING})\)", r"int4eq(\1, \2)")
_FUNCTION = (rf"int4eq\(([a-z_.]*team_id), ({_SETTING})\)", r"(\1 = \2)")


def team_as_filter(*tables: str) -> RunSQL:
    """Let the policies of these tables test the team without offering an index for it.

    A policy is a condition of each statement. While a table has no statistics, or those of when it was empty, the
    planner takes `team_id = ...` for as good as a row's own id, and reads the whole team to find one row. Who wants a
    team's rows asks for them (access.clearance). The operator's function is the same test; no index serves it; nor does
    the planner take it for a second condition that leaves one row in as many as there are teams.
    """
    forth, back = (_REWRITE.format(tables=",".join(tables), old=old, new=new) for old, new in (_OPERATOR, _FUNCTION))
    return RunSQL(forth, back)
