"""Tasks: what agents and people work on, one holder at a time, under a lease."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from memoryhub.core.models import Labelled, Membership, once_by_client_ref


class TaskStatus(models.TextChoices):
    OPEN = "open"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    ESCALATED = "escalated"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


CLAIMABLE = (TaskStatus.OPEN, TaskStatus.IN_PROGRESS, TaskStatus.BLOCKED)
OVER = (TaskStatus.DONE, TaskStatus.FAILED, TaskStatus.CANCELLED)


class Task(Labelled):
    """Text: `title`, `requester`, `metadata`, `outcome`. `version` counts changes of the row, for its ETag; `change_id`
    is new with each, since in another life of the ledger the same number is another version.
    """

    key = models.CharField(max_length=200)
    status = models.CharField(max_length=12, choices=TaskStatus.choices, default=TaskStatus.OPEN)
    version = models.IntegerField(default=1)
    change_id = models.UUIDField(null=True)  # null in the first version, which its event identifies
    text_version = models.IntegerField(default=1)
    reopen_count = models.IntegerField(default=0)
    client_ref = models.CharField(max_length=200, null=True)
    # The lease. The fencing token only ever grows; an agent whose lease has expired holds nothing.
    token = models.BigIntegerField(default=0)
    holder = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    lease_expires_at = models.DateTimeField(null=True)
    human_owned = models.BooleanField(default=False)
    ended_at = models.DateTimeField(null=True)

    class Meta(Labelled.Meta):
        db_table = "task"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            # The label is part of the key, so that a hidden task can never collide with a visible one.
            models.UniqueConstraint(fields=["team", "label", "key"], name="task_key"),
            once_by_client_ref("task"),
            models.CheckConstraint(
                name="task_human_owner_is_known", condition=Q(human_owned=False) | Q(holder__isnull=False)
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team", "key"], name="task_by_key"),
            # Not by team first: while the table is small, the planner would take it for a key instead of task_by_key.
            models.Index(fields=["status", "team", "id"], name="task_by_status"),
            models.Index(fields=["holder"], name="task_by_holder", condition=Q(holder__isnull=False)),
            # The oldest without a holder, without scanning all that are done or held.
            models.Index(
                # By time, an order that no other index has: by id the planner may scan all that are done.
                fields=["team", "created_at", "id"],
                name="task_claimable",
                condition=Q(human_owned=False, holder__isnull=True, status__in=list(CLAIMABLE)),
            ),
            # The leases that agents hold, the next to expire first.
            models.Index(
                fields=["lease_expires_at"],
                name="task_run_out",
                condition=Q(human_owned=False, lease_expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.key
