"""Rows of the machinery itself: data keys, work for later, remembered requests."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from memoryhub.core.ids import new_id
from memoryhub.core.models.people import Team


class TeamKey(models.Model):
    """A team's data key, wrapped by a master key (envelope encryption). Erasing it erases what it sealed."""

    id = models.AutoField(primary_key=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="keys")
    master = models.CharField(max_length=40, help_text="Id of the master key that wraps it.")
    wrapped = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    app_may = "SELECT, INSERT"  # wrapping anew and erasing are the owner's

    class Meta:
        db_table = "team_key"


class Outbox(models.Model):
    """Work for later, written in the transaction that caused it. Celery is only told its id."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    handler = models.CharField(max_length=120, help_text="Its name in config.reactions.")
    row_id = models.UUIDField(null=True, help_text="What it is about.")
    request_id = models.CharField(max_length=64, blank=True, help_text="Of the request that caused it, for the logs.")
    generation = models.IntegerField(default=0, help_text="A job of an older generation does nothing.")
    due_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=200, blank=True, help_text="Class of the last exception, never its text.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "outbox"
        verbose_name_plural = "outbox"
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["due_at"], name="outbox_due", condition=Q(done_at__isnull=True)),
            models.Index(fields=["done_at"], name="outbox_done", condition=Q(done_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.handler


class Heartbeat(models.Model):
    """When a part of the installation last showed that it works: the worker, whenever beat has it sweep."""

    app_may: ClassVar[str] = "SELECT, UPDATE"

    part = models.CharField(primary_key=True, max_length=20)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "heartbeat"


class Idempotency(models.Model):
    """What a request with an Idempotency-Key did: the action's status and ids, never a copy of the answer."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    credential = models.UUIDField(help_text="The API key, or the person's membership.")
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(help_text="SHA-256 over method, path and body.")
    result = models.JSONField(null=True)
    event_id = models.UUIDField(null=True, help_text="Settled again by a replay, before it is answered.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "idempotency"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["credential", "key"], name="idempotency_once"),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["created_at"], name="idempotency_age")]
