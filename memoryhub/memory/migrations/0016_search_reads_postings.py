"""Search reads postings of its own in place of tsvectors in a GIN index, lets a row's neighbours lend it their words, and
indexes a long row as several documents (ADR 20).

What is indexed is converted, so search goes on at once; it is brought up to the present edition in the background.
"""

from importlib import import_module
from typing import ClassVar

from django.db import migrations, models
from django.db.migrations.operations.base import Operation
from django.db.models.deletion import DO_NOTHING

_SEARCH = import_module("memoryhub.memory.migrations.0007_search")
_VECTORS = import_module("memoryhub.memory.migrations.0009_search_vectors")
_BITMAPS = import_module("memoryhub.memory.migrations.0014_only_search_reads_bitmaps")

POSTINGS = """
create table search_posting (
    shelf_id int not null,
    term text collate "C" not null,
    cell_id int not null,
    entries bytea not null,
    primary key (shelf_id, term, cell_id)
) with (fillfactor = 80);
-- They hardly compress, and are read and extended all the time.
alter table search_posting alter column entries set storage external;
"""
# As the indexer writes them (search.postings); a cell of old may have more documents than a number can name.
CONVERT = """
alter table search_cell add column filled int not null default 0;
alter table search_doc add column part_of uuid, add column task_id uuid, add column number int not null default 0;
drop index search_doc_words, search_doc_newest;
update search_doc d set number = n.number from (
  select row_id, row_number() over (partition by cell_id order by row_id) - 1 as number from search_doc) n
where n.row_id = d.row_id;
delete from search_doc where number > 32766;
insert into search_posting (shelf_id, term, cell_id, entries)
select d.shelf_id, substr(w.lexeme, strpos(w.lexeme, ':') + 1) collate "C", d.cell_id, string_agg(
    int2send(d.number::int2)
    || set_byte('\\x00'::bytea, 0, least(greatest(coalesce(cardinality(w.positions), 1), 1), 255))
    || int2send(least(d.length, 32767)::int2), ''::bytea order by d.number)
from search_doc d cross join unnest(d.words) w
group by d.shelf_id, 2, d.cell_id;
update search_doc d set words = coalesce((
  select string_agg('''' || replace(replace(substr(w.lexeme, strpos(w.lexeme, ':') + 1), '\\', '\\\\'), '''', '''''') || ''''
                    || coalesce(':' || array_to_string(w.positions, ','), ''), ' ')
  from unnest(d.words) w)::tsvector, '');
update search_cell c set docs = n.docs, length = n.length, filled = n.filled from (
  select c.id, count(d.cell_id) as docs, coalesce(sum(d.length), 0) as length, coalesce(max(d.number) + 1, 0) as filled
  from search_cell c left join search_doc d on d.cell_id = c.id group by c.id) n
where n.id = c.id;
alter table search_doc alter column number drop default;
alter table search_cell alter column filled drop default;
drop table search_term;
"""
INDEXES = """
-- For parts of words; what rows are filtered by, and the hashes of sealed words, have no parts.
create index search_posting_parts on search_posting using gin (term gin_trgm_ops) where left(term, 1) not in ('=', '~');
create index search_posting_of_cell on search_posting (cell_id);
create unique index search_doc_place on search_doc (cell_id, number);
create index search_doc_parts on search_doc (part_of) where part_of is not null;
-- Whether a visible row stands between two of a task: by shelf, so that no hidden row is read.
create index search_doc_of_task on search_doc (task_id, shelf_id, row_id) include (expires_at)
  where task_id is not null and part_of is null;
-- The edition in which the rows were indexed, and how far the present one has come: by kind, and by id within it.
alter table search_state add column edition int not null default 1, add column kind text, add column last_id uuid;
"""
PARTS = _SEARCH.PARTS.replace("search_term", "search_posting").replace(
    """  select t.term, sum(t.docs) from found join search_posting t using (term) where t.shelf_id in (select id from shelf)
  group by t.term order by sum(t.docs) desc, t.term limit at_most
""",
    """  select t.term, sum(octet_length(t.entries) / 5) from found join search_posting t using (term)
  where t.shelf_id in (select id from shelf)
  group by t.term order by 2 desc, t.term limit at_most
""",
)
assert "octet_length" in PARTS
DROP_FUNCTIONS = """
drop function search_hits(
  int[], text[], int[], text[], int[], float8[], int[], float8, float8, timestamptz, timestamptz, int, bool[]);
drop function search_newest(int, tsquery, int, int[], float8, timestamptz, timestamptz);
drop function search_parts(text, bool, int);
do $$ begin
  if to_regclass('search_vector') is not null then
    drop function search_near(text, vector, int[], text, bool, int, float8, timestamptz, timestamptz, int);
  end if;
end $$;
"""
MAKE = _VECTORS.MAKE.replace(_VECTORS.NEAR, "").replace(
    "create function search_vector_make", "create or replace function search_vector_make"
)
# The teams whose index has rows of another edition.
OUTDATED = f"""
create function search_outdated(present int) returns setof int language sql stable {_SEARCH.DEFINER} as $$
  select team_id from search_state where edition <> present
$$;
"""

# Back: the index is made anew by the indexer, from the beginning of the ledger.
FORGET = f"""
drop function search_outdated(int);
drop function search_parts(text, bool, int);
alter table search_state drop column edition, drop column kind, drop column last_id;
update search_state set seq = 0;
drop table search_posting;
delete from search_doc;
delete from search_form;
delete from search_cell;
drop index search_doc_place, search_doc_parts, search_doc_of_task;
alter table search_doc drop column part_of, drop column task_id, drop column number;
alter table search_cell drop column filled;
create table search_term (
    shelf_id int not null,
    term text collate "C" not null,
    docs int not null,
    cells int[] not null,
    counts int[] not null,
    primary key (shelf_id, term)
) with (fillfactor = 80);
create index search_term_parts on search_term using gin (term gin_trgm_ops) where left(term, 1) not in ('=', '~');
create index search_doc_words on search_doc using gin (words) with (fastupdate = off);
create index search_doc_newest on search_doc (cell_id, row_id);
alter table search_term enable row level security;
create policy search_term_all on search_term
  using ({_SEARCH.OF_VISIBLE_SHELVES}) with check ({_SEARCH.OF_VISIBLE_SHELVES});
{_SEARCH.PARTS}
{_SEARCH.NEWEST}
{_SEARCH.HITS}
{_BITMAPS.REPLACE_WITH_BITMAPS}
alter function search_parts set enable_bitmapscan = on;
alter function search_hits set enable_bitmapscan = on;
"""
NEAR_AGAIN = f"""
do $near$ begin
  if to_regclass('search_vector') is not null then
    execute $body$ {_VECTORS.NEAR} $body$;
    alter function search_near set enable_bitmapscan = on;
  end if;
end $near$;
"""
_SHELF = models.OneToOneField(
    to="memory.searchshelf", primary_key=True, serialize=False, on_delete=DO_NOTHING, related_name="+"
)


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0015_what_is_withheld_is_counted_by_kind")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(DROP_FUNCTIONS, FORGET + NEAR_AGAIN),
        migrations.RunSQL(POSTINGS, migrations.RunSQL.noop),
        migrations.RunSQL(CONVERT, migrations.RunSQL.noop),
        _SEARCH.of_shelf("search_posting"),
        migrations.RunSQL(INDEXES, migrations.RunSQL.noop),
        migrations.RunSQL(PARTS + "alter function search_parts set enable_bitmapscan = on;", migrations.RunSQL.noop),
        migrations.RunSQL(MAKE, migrations.RunSQL.noop),
        migrations.RunSQL(OUTDATED, migrations.RunSQL.noop),
        migrations.DeleteModel("SearchTerm"),
        migrations.CreateModel(
            "SearchPosting",
            [
                ("shelf", _SHELF),
                ("term", models.TextField()),
                (
                    "cell",
                    models.ForeignKey(to="memory.searchcell", on_delete=DO_NOTHING, related_name="+", db_index=False),
                ),
                ("entries", models.BinaryField()),
            ],
            options={"db_table": "search_posting", "managed": False},
        ),
        migrations.AddField("SearchCell", "filled", models.IntegerField(default=0), preserve_default=False),
        migrations.AddField("SearchDoc", "number", models.IntegerField(default=0), preserve_default=False),
        migrations.AddField("SearchDoc", "part_of", models.UUIDField(null=True)),
        migrations.AddField("SearchDoc", "task_id", models.UUIDField(null=True)),
        migrations.AddField("SearchState", "edition", models.IntegerField(default=1)),
        migrations.AddField("SearchState", "kind", models.TextField(null=True)),
        migrations.AddField("SearchState", "last_id", models.UUIDField(null=True)),
    ]
