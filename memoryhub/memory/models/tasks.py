"""Tasks: what agents and people work on, one at a time under a lease."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q

from memoryhub.core.models import Labelled, Membership


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
    """Text: `title`, `requester`, `metadata`, `outcome`. `version` counts changes of the row, for its ETag, and
    `change_id` is made anew with each: in another history of the ledger the same number is another version.
    """

    key = models.CharField(max_length=200)
    status = models.CharField(max_length=12, choices=TaskStatus.choices, default=TaskStatus.OPEN)
    version = models.IntegerField(default=1)
    change_id = models.UUIDField(null=True)  # of the first version it is the event's
    text_version = models.IntegerField(default=1)
    reopen_count = models.IntegerField(default=0)
    client_ref = models.CharField(max_length=200, null=True)
    # The lease. The fencing token only ever grows; a holder without a live expiry holds nothing.
    token = models.BigIntegerField(default=0)
    holder = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    lease_expires_at = models.DateTimeField(null=True)
    human_owned = models.BooleanField(default=False)
    ended_at = models.DateTimeField(null=True)

    class Meta(Labelled.Meta):
        db_table = "task"
        abstract = False
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            # The label is part of the key, so that a hidden task can never collide with a visible one.
            models.UniqueConstraint(fields=["team", "label", "key"], name="task_key"),
            models.UniqueConstraint(
                fields=["author", "label", "client_ref"], name="task_client_ref", condition=Q(client_ref__isnull=False)
            ),
            models.CheckConstraint(
                name="task_human_owner_is_known", condition=Q(human_owned=False) | Q(holder__isnull=False)
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team", "key"], name="task_by_key"),
            # Not by team first: for a key it would seem as good as task_by_key, while the table is small.
            models.Index(fields=["status", "team", "id"], name="task_by_status"),
            models.Index(fields=["holder"], name="task_by_holder", condition=Q(holder__isnull=False)),
            # The oldest that is nobody's, without passing over all that are done or held.
            models.Index(
                # By time, which no other index is in order of: by id the planner may walk through all that are done.
                fields=["team", "created_at", "id"],
                name="task_claimable",
                condition=Q(human_owned=False, holder__isnull=True, status__in=list(CLAIMABLE)),
            ),
            # The leases that agents hold, the next to run out first.
            models.Index(
                fields=["lease_expires_at"],
                name="task_run_out",
                condition=Q(human_owned=False, lease_expires_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.key
