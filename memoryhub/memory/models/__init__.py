"""The memory's tables."""

from memoryhub.memory.models.decisions import Decision, DecisionStatus
from memoryhub.memory.models.observations import Observation
from memoryhub.memory.models.tasks import OVER, Task, TaskStatus

__all__ = ["OVER", "Decision", "DecisionStatus", "Observation", "Task", "TaskStatus"]
