"""What every Django process needs that is only wired up here."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "memoryhub.config"
    label = "config"

    def ready(self) -> None:
        # Else whoever wakes Celery would look for a broker of its own, and each doorbell would wait for that.
        from memoryhub.config import celery  # noqa: F401
