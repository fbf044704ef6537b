"""readable(): a text as readers see it (core.readable), for filters that PostgreSQL decides."""

from typing import ClassVar

from django.db import migrations
from django.db.migrations.operations.base import Operation

from memoryhub.core.readable import UNSEEN

READABLE = f"""
create function readable(text) returns text language sql immutable strict parallel safe as $$
  select translate(normalize(regexp_replace($1, '{UNSEEN}', '', 'g'), nfc), u&'\\2010\\2011', '--')
$$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar[list[tuple[str, str]]] = [("core", "0013_what_only_people_hear")]

    operations: ClassVar[list[Operation]] = [migrations.RunSQL(READABLE, "drop function readable(text)")]
