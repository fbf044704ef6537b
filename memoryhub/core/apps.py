"""The kernel: no domain words, everything else is built on it."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class CoreConfig(AppConfig):
    name = "memoryhub.core"
    verbose_name = "People and access"

    def ready(self) -> None:
        from memoryhub.core import checks  # noqa: F401  (registers the system checks)
        from memoryhub.core.access.grants import grant_app_role

        post_migrate.connect(grant_app_role, dispatch_uid="memoryhub.grants")
