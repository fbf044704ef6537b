"""Escalations: where a person takes over from an agent."""

from django.apps import AppConfig


class EscalationsConfig(AppConfig):
    name = "escalations"
    verbose_name = "Escalations"

    def ready(self) -> None:
        from escalations import metrics  # noqa: F401  (registers what /metrics tells)
        from escalations.kinds import register_kinds

        register_kinds()
