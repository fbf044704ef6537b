"""What a person writes on an escalation and has not sent yet."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from escalations.models.escalations import Escalation
from memoryhub.core.models import Label, Membership, Sensitivity, Team


class Draft(models.Model):
    """Its author's alone, under the escalation's label, without an event (ADR 14). Text: `fields`, name -> text."""

    id = models.UUIDField(primary_key=True, editable=False, help_text="Made of author, escalation and form.")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    sensitivity = models.SmallIntegerField(choices=Sensitivity.choices)
    body = models.JSONField(null=True)
    sealed = models.BinaryField(null=True)
    author = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+", db_index=False)
    escalation = models.ForeignKey(Escalation, on_delete=models.PROTECT, related_name="+", db_index=False)
    form = models.CharField(max_length=20)
    kept_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "escalation_draft"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["author", "escalation", "form"], name="escalation_draft_once"),
            models.CheckConstraint(
                name="draft_sealed_if_confidential",
                condition=Q(sensitivity=2, sealed__isnull=False, body__isnull=True)
                | Q(sensitivity__lt=2, sealed__isnull=True, body__isnull=False),
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["team", "kept_at"], name="escalation_draft_age")]

    def __str__(self) -> str:
        return f"{self.form} of {self.escalation_id}"
