"""What the app role may do with each table: a model's `app_may`, else everything but TRUNCATE."""

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections

EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"


def grant_app_role(using: str, **_: Any) -> None:
    """After every migration, set the app role's rights anew; not when one login does all, which checks refuse."""
    role = settings.DATABASES["default"]["USER"]
    connection = connections[using]
    if connection.settings_dict["USER"] == role:
        return
    quoted = connection.ops.quote_name(role)
    tables = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {quoted}")
        cursor.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {quoted}")
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            if table not in tables:
                continue
            name = connection.ops.quote_name(table)
            cursor.execute(f"REVOKE ALL ON {name} FROM {quoted}")
            cursor.execute(f"GRANT {getattr(model, 'app_may', EVERYTHING)} ON {name} TO {quoted}")
        cursor.execute(f"GRANT SELECT ON django_migrations TO {quoted}")
        cursor.execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
        cursor.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {quoted}")
