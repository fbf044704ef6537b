"""Alerts: an insight that an agent wants others to act on, delivered until each has acknowledged it."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from memoryhub.core.models import Labelled, Membership, once_by_client_ref
from memoryhub.memory.models.tasks import Task


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Labelled):
    """Text: `insight`. Only its author and its recipients may see it."""

    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    severity = models.CharField(max_length=10, choices=Severity.choices, default=Severity.INFO)
    # The members to whom it was sent: stored here as well as below, since row-level security tests it for each row.
    recipients = ArrayField(models.UUIDField())
    expires_at = models.DateTimeField(null=True)
    client_ref = models.CharField(max_length=200, null=True)

    class Meta(Labelled.Meta):
        db_table = "alert"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            once_by_client_ref("alert"),
            models.CheckConstraint(name="alert_has_recipients", condition=~Q(recipients=[])),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["author", "-id"], name="alert_of_author")]

    def __str__(self) -> str:
        return str(self.id)


class AlertRecipient(models.Model):
    """A recipient of an alert, and when they acknowledged it."""

    id = models.BigAutoField(primary_key=True)
    alert = models.ForeignKey(Alert, on_delete=models.PROTECT, related_name="deliveries", db_index=False)
    member = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+", db_index=False)
    acknowledged_at = models.DateTimeField(null=True)
    # The event of the acknowledgement, on which its answer depends.
    event_id = models.UUIDField(null=True)

    app_may = "SELECT, INSERT, UPDATE"

    class Meta:
        db_table = "alert_recipient"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["alert", "member"], name="alert_recipient_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["member", "-alert"], name="alert_of_member"),
            # What is still to be delivered, however much was.
            models.Index(
                fields=["member", "-alert"], name="alert_open_of_member", condition=Q(acknowledged_at__isnull=True)
            ),
        ]
