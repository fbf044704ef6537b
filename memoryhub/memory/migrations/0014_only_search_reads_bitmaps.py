"""Sessions of the app role read no bitmaps (config.env.session_options); search's own indexes serve nothing else."""

from importlib import import_module
from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

MAKE: str = import_module("memoryhub.memory.migrations.0009_search_vectors").MAKE
REPLACE = MAKE.replace("create function search_vector_make", "create or replace function search_vector_make")
assert REPLACE.count("set enable_seqscan = off set plan_cache_mode") == 1
REPLACE_WITH_BITMAPS = REPLACE.replace(
    "set enable_seqscan = off set plan_cache_mode",
    "set enable_seqscan = off set enable_bitmapscan = on set plan_cache_mode",
)
ON, OFF = "set enable_bitmapscan = on", "reset enable_bitmapscan"
FUNCTIONS = """
alter function search_parts {0};
alter function search_hits {0};
do $$ begin
  if to_regclass('search_vector') is not null then
    alter function search_near {0};
  end if;
end $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("memory", "0013_no_key_is_looked_for_by_status")]

    operations: ClassVar[list[Operation]] = [
        migrations.RunSQL(REPLACE_WITH_BITMAPS, REPLACE),
        migrations.RunSQL(FUNCTIONS.format(ON), FUNCTIONS.format(OFF)),
    ]
