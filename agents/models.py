"""Agents and their API keys."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from memoryhub.core.ids import new_id
from memoryhub.core.models import Membership


class Scope(models.TextChoices):
    """What a key may be used for."""

    MEMORY_READ = "memory:read"
    MEMORY_WRITE = "memory:write"
    TASKS = "tasks"
    ESCALATIONS = "escalations"
    ALERTS = "alerts"
    INSIGHTS_READ = "insights:read"
    IMPORT = "import"


MAX_RATE_LIMIT = 6_000_000
DEFAULT_SCOPES = [Scope.MEMORY_READ, Scope.MEMORY_WRITE, Scope.TASKS, Scope.ESCALATIONS, Scope.ALERTS]


class Agent(models.Model):
    """An agent's attributes beside its membership: its group and its purpose."""

    membership = models.OneToOneField(Membership, primary_key=True, on_delete=models.PROTECT, related_name="agent")
    group = models.CharField(max_length=60, blank=True, help_text="A word that alerts can be sent to, e.g. research.")
    description = models.CharField(max_length=300, blank=True)
    last_seen_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "agent"

    def __str__(self) -> str:
        return self.membership.name


class ApiKey(models.Model):
    """An agent's credential. Only its SHA-256 is stored; the key itself is shown once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    membership = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="api_keys")
    name = models.CharField(max_length=100, blank=True)
    prefix = models.CharField(max_length=20, help_text="The first characters, to tell keys apart.")
    digest = models.BinaryField(unique=True)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope.choices), default=list)
    rate_limit = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests a minute; empty: as RATE_LIMIT_PER_MINUTE says."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    replaced_by = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="+", editable=False, db_index=False
    )

    class Meta:
        db_table = "api_key"
        verbose_name = "API key"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(name="api_key_rate_limit", condition=Q(rate_limit__range=(1, MAX_RATE_LIMIT)))
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"
