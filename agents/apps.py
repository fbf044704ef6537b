"""Agents: who they are, their keys, and the doors they come in by."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Agents and keys"

    def ready(self) -> None:
        from agents.actions.keys import read_scopes
        from memoryhub.interface.live.rights import register

        register("key", read_scopes)
