"""Decisions: what an agent or a person settled, with the reasoning and what it rests on."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from memoryhub.core.models import Labelled, once_by_client_ref
from memoryhub.memory.models.tasks import Task


class DecisionStatus(models.TextChoices):
    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class Outcome(models.TextChoices):
    """Whether acting on the decision worked."""

    WORKED = "worked"
    FAILED = "failed"


class Decision(Labelled):
    """Text: `decision` (an object or a string), `reasoning`; `revoke_reason` and `outcome_note` where present."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    status = models.CharField(max_length=10, choices=DecisionStatus.choices, default=DecisionStatus.ACTIVE)
    based_on = ArrayField(models.UUIDField(), default=list)
    action_key = models.CharField(max_length=200, null=True)
    client_ref = models.CharField(max_length=200, null=True)
    # The decision that this one replaced. The reverse is looked up by this column, under the label of the newer one.
    supersedes = models.UUIDField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, null=True)
    text_version = models.IntegerField(default=1)

    class Meta(Labelled.Meta):
        db_table = "decision"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            # Across labels on purpose: a double refund is worse than the hint that somebody has decided.
            models.UniqueConstraint(
                fields=["team", "action_key"],
                name="decision_action_key",
                condition=Q(action_key__isnull=False, status="active"),
            ),
            once_by_client_ref("decision"),
            models.UniqueConstraint(
                fields=["supersedes"], name="decision_supersedes", condition=Q(supersedes__isnull=False)
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["task", "-id"], name="decision_of_task"),
            models.Index(fields=["team", "-id"], name="decision_of_team"),
        ]

    def __str__(self) -> str:
        return str(self.id)
