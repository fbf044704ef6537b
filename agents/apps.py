"""Agents: who they are, their keys, and the doors they come in by."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Agents and keys"
