"""Observations: what an agent saw or did, append-only."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from memoryhub.core.models import Labelled, once_by_client_ref
from memoryhub.memory.models.tasks import Task


class Observation(Labelled):
    """Text: `content` (an object or a string). Private ones are their author's reasoning, hidden from other agents.

    One with `expires_at` is visible until then, and as long as it is pinned.
    """

    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT, related_name="observations", db_index=False)
    tags = ArrayField(models.CharField(max_length=100), default=list)
    importance = models.FloatField(null=True)
    private = models.BooleanField(default=False)
    pinned = models.BooleanField(default=False)
    occurred_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    client_ref = models.CharField(max_length=200, null=True)
    # Set only when deduplication by content was requested; keyed (HMAC), so that it discloses nothing of sealed
    # content.
    digest = models.BinaryField(null=True)

    class Meta(Labelled.Meta):
        db_table = "observation"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            models.CheckConstraint(
                name="observation_importance_range",
                condition=Q(importance__isnull=True) | Q(importance__gte=0, importance__lte=1),
            ),
            once_by_client_ref("observation"),
            models.UniqueConstraint(
                fields=["author", "label", "task", "digest"],
                name="observation_content",
                condition=Q(digest__isnull=False),
                nulls_distinct=False,
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # A task's newest page, whatever its size.
            models.Index(fields=["task", "-id"], name="observation_of_task"),
            models.Index(fields=["team", "-id"], name="observation_of_team"),
            # For a task's context, however many other rows there are.
            models.Index(fields=["task", "-id"], name="observation_pinned", condition=Q(pinned=True)),
            models.Index(fields=["task", "-id"], name="observation_important", condition=Q(importance__gte=0.7)),
            # What may be removed next; pinned rows do not expire.
            models.Index(
                fields=["expires_at"], name="observation_expiry", condition=Q(expires_at__isnull=False, pinned=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
