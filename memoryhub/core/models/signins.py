"""Signing in: who has to wait before the next attempt, and what was seen, counted."""

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from memoryhub.core.models.people import Actor


class SignInDelay(models.Model):
    """Failed attempts of one name, one address, both together or one browser, and until when the next one waits.

    The key is a keyed hash: what strangers type into the field of the name is not kept.
    """

    key = models.CharField(primary_key=True, max_length=64)
    failures = models.PositiveIntegerField()
    free_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        db_table = "signin_delay"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["seen_at"], name="signin_delay_seen")]


class SignInRecord(models.Model):
    """How often something happened in an hour, to one account, from one address: a flood makes counts, not rows."""

    class Kind(models.TextChoices):
        SIGN_IN = "sign_in", "signed in"
        FAILURE = "failure", "wrong name or password"
        DELAY = "delay", "told to wait"
        SIGN_OUT = "sign_out", "signed out"

    hour = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    actor = models.ForeignKey(
        Actor, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    address = models.CharField(
        max_length=60, blank=True, help_text="An address, or the /64 of an IPv6 one. Empty: of many, beyond the bound."
    )
    times = models.PositiveIntegerField()
    first_at = models.DateTimeField(db_default=Now())
    last_at = models.DateTimeField(db_default=Now())

    app_may = "SELECT"  # written by record_sign_in() and removed by prune_sign_ins(), which belong to the owner

    class Meta:
        db_table = "signin_record"
        verbose_name = "sign-in"
        verbose_name_plural = "sign-ins"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(
                fields=["hour", "kind", "actor", "address"], name="signin_record_once", nulls_distinct=False
            )
        ]

    def __str__(self) -> str:
        return str(self.get_kind_display())
