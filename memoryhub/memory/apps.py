"""The shared memory: tasks, observations, decisions, facts, learnings, alerts."""

from django.apps import AppConfig


class MemoryConfig(AppConfig):
    name = "memoryhub.memory"
    verbose_name = "Shared memory"
