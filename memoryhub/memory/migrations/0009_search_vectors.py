"""Vectors of what rows mean, for those who have an embeddings endpoint (ADR 7).

pgvector is not on every server, and not every owner may create it. Where it is missing all else is made, and
`search_vector_make()` makes the rest when it has come (`manage.py reindex_vectors`).
"""

from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.deletion import DO_NOTHING

from memoryhub.core.access.rls import SYSTEM, TEAM

TABLES = """
create table search_vector_state (
    team_id int primary key references team (id),
    model text not null,
    failures int not null default 0,
    resume_at timestamptz not null default '-infinity'
);
create table search_vector_due (
    row_id uuid primary key references search_doc (row_id) on delete cascade,
    team_id int not null,
    tries int not null default 0,
    after timestamptz not null default '-infinity',
    claim uuid
);
create index search_vector_due_of_team on search_vector_due (team_id, row_id);
create index search_vector_due_claim on search_vector_due (claim) where claim is not null;
"""


def of_system(table: str) -> migrations.RunSQL:
    """All policies of a table that only the team's own viewer reads and writes."""
    condition = f"team_id = {TEAM} and {SYSTEM}"
    return migrations.RunSQL(
        f"alter table {table} enable row level security; create policy {table}_all on {table} "
        f"using ({condition}) with check ({condition})",
        f"drop policy {table}_all on {table}; alter table {table} disable row level security",
    )


# The rows nearest in meaning to a vector: exactly, of the newest `bound` rows of these cells that have what is asked (chr(1)
# stands for the cell; '': anything). `by_words`: whether that names words that they must have, so that the words' index
# finds them; else a cell's rows are gone through. An index of near vectors would count hidden rows.
NEAR = """
  create function search_near(of_model text, meaning vector, cells int[], asked text, by_words bool, bound int,
      low float8, since timestamptz, until timestamptz, at_most int)
  returns table (row_id uuid, type varchar, similarity float8)
  language sql stable security definer set search_path = public, pg_temp
  set enable_seqscan = off set plan_cache_mode = force_generic_plan as $$
    with shelf as materialized (select unnest(search_shelves()) as id),
         asking as materialized (
           select cell, replace(nullif(asked, ''), chr(1), to_hex(cell) || ':')::tsquery as query
           from unnest(cells) cell),
         found as (
           select f.* from asking a cross join lateral (
             select d.row_id, d.type, v.near from (
               select v.row_id,
                      case when vector_dims(v.vector) = vector_dims(meaning) then 1 - (v.vector <=> meaning) end as near
               from search_vector v
               where v.cell_id = a.cell and v.shelf_id in (select id from shelf) and v.model = of_model
               offset 0  -- here and below: else the planner may read all rows by their ids, for the sake of the order
             ) v cross join lateral (
               select d.row_id, d.type from search_doc d
               where d.row_id = v.row_id and (a.query is null or d.words @@ a.query)
                 and (d.expires_at is null or d.expires_at > statement_timestamp())
                 and (low is null or d.importance >= low)
                 and (since is null or d.created_at >= since) and (until is null or d.created_at < until)
               offset 0
             ) d
             order by v.row_id desc limit bound
           ) f where not by_words
           union all
           select f.* from asking a cross join lateral (
             select d.row_id, d.type,
                    case when vector_dims(v.vector) = vector_dims(meaning) then 1 - (v.vector <=> meaning) end as near
             from (
               select d.row_id, d.type from search_doc d
               where d.words @@ a.query and d.shelf_id in (select id from shelf)
                 and (d.expires_at is null or d.expires_at > statement_timestamp())
                 and (low is null or d.importance >= low)
                 and (since is null or d.created_at >= since) and (until is null or d.created_at < until)
               offset 0
             ) d cross join lateral (
               select v.vector from search_vector v where v.row_id = d.row_id and v.model = of_model offset 0
             ) v
             order by d.row_id desc limit bound
           ) f where by_words),
         newest as (select f.* from found f order by f.row_id desc limit bound)
    select b.row_id, b.type, round(b.near::numeric, 6)::float8 from (
      select n.* from newest n where n.near > 0 order by n.near desc, n.row_id desc limit at_most
    ) b order by b.near desc, b.row_id desc
  $$;
"""
# Whether there are vectors now. Stored in the row as far as it goes: fetching each from elsewhere takes longer than all else.
MAKE = f"""
create function search_vector_make() returns bool language plpgsql set search_path = public, pg_temp as $make$
begin
  if to_regclass('search_vector') is not null then
    return true;
  end if;
  begin
    create extension if not exists vector schema public;
  exception when insufficient_privilege or feature_not_supported or undefined_file then
    return false;
  end;
  if to_regtype('public.vector') is null then
    return false;
  end if;
  create table search_vector (
      row_id uuid primary key references search_doc (row_id) on delete cascade,
      shelf_id int not null,
      cell_id int not null,
      model text not null,
      vector vector not null
  );
  alter table search_vector alter column vector set storage main;
  create index search_vector_of_cell on search_vector (cell_id, row_id);
  alter table search_vector enable row level security;
  create policy search_vector_all on search_vector
    using (shelf_id in (select id from search_shelf)) with check (shelf_id in (select id from search_shelf));
  {NEAR}
  return true;
end $make$;
select search_vector_make();
"""
NO_MAKE = """
do $$ begin
  if to_regclass('search_vector') is not null then
    drop function search_near(text, vector, int[], text, bool, int, float8, timestamptz, timestamptz, int);
    drop table search_vector;
  end if;
end $$;
drop function search_vector_make();
"""
# The teams that have something to send: rows without a vector, or all of them by another model.
BEHIND = """
create function search_vectors_behind(of_model text) returns setof int language sql stable
security definer set search_path = public, pg_temp as $$
  select t.id from team t left join search_vector_state s on s.team_id = t.id
  where s.model is distinct from of_model
     or s.resume_at <= statement_timestamp() and exists (
        select from search_vector_due d where d.team_id = t.id and d.after <= statement_timestamp())
$$;
"""

_OWN: dict[str, object] = {"on_delete": DO_NOTHING, "related_name": "+"}


def _table(name: str, table: str, *fields: tuple[str, models.Field]) -> migrations.CreateModel:
    return migrations.CreateModel(name=name, fields=list(fields), options={"db_table": table, "managed": False})


def _key(name: str, to: str) -> tuple[str, models.Field]:
    return name, models.OneToOneField(to=to, primary_key=True, serialize=False, **_OWN)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0008_context")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(TABLES, "drop table search_vector_due, search_vector_state"),
        of_system("search_vector_state"),
        of_system("search_vector_due"),
        migrations.RunSQL(MAKE, NO_MAKE),
        migrations.RunSQL(BEHIND, "drop function search_vectors_behind(text)"),
        _table(
            "SearchVector",
            "search_vector",
            _key("row", "memory.searchdoc"),
            ("shelf", models.ForeignKey(to="memory.searchshelf", db_index=False, **_OWN)),
            ("cell", models.ForeignKey(to="memory.searchcell", db_index=False, **_OWN)),
            ("model", models.TextField()),
        ),
        _table(
            "SearchVectorDue",
            "search_vector_due",
            _key("row", "memory.searchdoc"),
            ("team", models.ForeignKey(to="core.team", db_index=False, **_OWN)),
            ("tries", models.IntegerField()),
            ("after", models.DateTimeField()),
            ("claim", models.UUIDField(null=True)),
        ),
        _table(
            "SearchVectorState",
            "search_vector_state",
            _key("team", "core.team"),
            ("model", models.TextField()),
            ("failures", models.IntegerField()),
            ("resume_at", models.DateTimeField()),
        ),
    ]
