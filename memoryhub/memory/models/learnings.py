"""Learnings: what worked, what failed, and what the team concludes; found again by the context that they arose in."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from memoryhub.core.models import Label, Labelled, once_by_client_ref
from memoryhub.memory.models.tasks import Task


class Signal(models.TextChoices):
    SUCCESS = "success"
    FAILURE = "failure"
    PATTERN = "pattern"
    RECOMMENDATION = "recommendation"


class Learning(Labelled):
    """Text: `details` (an object or a string), `context` (an object)."""

    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT, related_name="learnings", db_index=False)
    signal_type = models.CharField(max_length=20, choices=Signal.choices)
    # The decision or escalation that it was made from, which has the same label; there is at most one per source.
    source = models.UUIDField(null=True)
    client_ref = models.CharField(max_length=200, null=True)
    text_version = models.IntegerField(default=1)

    class Meta(Labelled.Meta):
        db_table = "learning"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            models.UniqueConstraint(fields=["source"], name="learning_source", condition=Q(source__isnull=False)),
            once_by_client_ref("learning"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["task", "-id"], name="learning_of_task", condition=Q(task__isnull=False)),
            models.Index(fields=["team", "-id"], name="learning_of_team"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class LearningKey(models.Model):
    """An index entry: the hash of one feature of a learning's context or words (memory.similarity).

    The primary key (label, token, learning) is scanned backwards for one label and token: it gives the newest learnings
    with the feature, at a cost that does not grow with their number.
    """

    learning = models.OneToOneField(Learning, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    label = models.ForeignKey(Label, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    token = models.BigIntegerField()

    app_may = "SELECT, INSERT, DELETE"

    class Meta:
        db_table = "learning_key"
        managed = False  # made by the migration, with a key of three columns
