"""The memory's tables. Every module here is imported, so that Django knows its models."""

import pkgutil
from importlib import import_module

from memoryhub.memory.models.alerts import Alert, Severity
from memoryhub.memory.models.decisions import Decision, DecisionStatus, Outcome
from memoryhub.memory.models.facts import Fact, FactVersion
from memoryhub.memory.models.learnings import Learning, Signal
from memoryhub.memory.models.observations import Observation
from memoryhub.memory.models.tasks import OVER, Task, TaskStatus

__all__ = [
    "OVER",
    "Alert",
    "Decision",
    "DecisionStatus",
    "Fact",
    "FactVersion",
    "Learning",
    "Observation",
    "Outcome",
    "Severity",
    "Signal",
    "Task",
    "TaskStatus",
]

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
