"""The ledger: what was changed, by whom, in commit order; and who read what is confidential."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from memoryhub.core.ids import new_id
from memoryhub.core.models.people import Membership, Team


def _reference(to: Any, *, null: bool = False) -> Any:
    """To what is never deleted (`app_may`), without a constraint: each is looked at, and its row locked, by every write
    of the team, inside COMMIT. The policy for inserts holds team, label and actor to the viewer's instead (ADR 5).
    """
    return models.ForeignKey(
        to, null=null, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )


class Event(models.Model):
    """One committed change. Never holds content: readers join to the row, through its label."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = _reference(Team)
    label = _reference("core.Label")
    type = models.CharField(max_length=60)
    actor = _reference(Membership)
    row_type = models.CharField(max_length=30)
    row_id = models.UUIDField(null=True)
    task_id = models.UUIDField(null=True)
    # Only this member may see the event (a private observation's); null: all whom the label allows.
    audience = _reference(Membership, null=True)
    # The same for several (an alert's sender and recipients).
    recipients = ArrayField(models.UUIDField(), null=True)
    people = models.BooleanField(default=False, db_default=False, help_text="No agent hears of it.")
    data = models.JSONField(default=dict)
    at = models.DateTimeField(db_default=Now())

    app_may = "SELECT, INSERT"

    class Meta:
        db_table = "event"
        indexes: ClassVar[list[models.Index]] = [
            # A task's state changes, for its timeline.
            models.Index(fields=["task_id", "id"], name="event_task", condition=models.Q(task_id__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.type


class EventSeq(models.Model):
    """The team's clock: a dense `seq` in commit order, written by the deferred trigger inside COMMIT (ADR 1)."""

    event = models.OneToOneField(
        Event, primary_key=True, on_delete=models.DO_NOTHING, related_name="clock", db_column="event_id"
    )
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    seq = models.BigIntegerField()

    app_may = "SELECT"

    class Meta:
        db_table = "event_seq"
        managed = False  # made by migration 0002, with its index; number_at_commit() fills it (last in 0006)


class LedgerLife(models.Model):
    """A history that a team's ledger was given: the first, or one that began at a fork (ADR 10).

    `from_seq`: the fork, up to which what was told before still holds. Written by the numbering trigger.
    """

    pk = models.CompositePrimaryKey("team_id", "ordinal")
    team_id = models.IntegerField()
    ordinal = models.IntegerField()
    timeline = models.TextField()
    system = models.TextField()
    from_seq = models.BigIntegerField()
    at = models.DateTimeField()

    app_may = "SELECT"

    class Meta:
        db_table = "ledger_life"
        managed = False  # made by migration 0006

    def __str__(self) -> str:
        return f"life {self.ordinal}"


class AccessLog(models.Model):
    """A reading of confidential content. Not part of the clock, so that reads never feed on themselves."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    label = models.ForeignKey("core.Label", on_delete=models.PROTECT, related_name="+", db_index=False)
    reader = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+", db_index=False)
    row_type = models.CharField(max_length=30)
    row_id = models.UUIDField()
    reason = models.CharField(max_length=30, help_text="confidential, or private (opened by the holder of the claim)")
    at = models.DateTimeField(db_default=Now())

    app_may = "SELECT, INSERT"

    class Meta:
        db_table = "access_log"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["team", "id"], name="access_log_team")]

    def __str__(self) -> str:
        return f"{self.row_type} {self.row_id}"
