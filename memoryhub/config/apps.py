"""Wiring that every Django process needs."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    name = "memoryhub.config"

    def ready(self) -> None:
        # Else a process that sends a task would use Celery's default broker, and each doorbell would wait for it.
        from memoryhub.config import celery  # noqa: F401
