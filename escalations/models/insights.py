"""The roll-up of the insights: derived from the ledger in the background, rebuilt by `rebuild_insights` (ADR 19)."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from memoryhub.core.models import Label, Membership, Team
from memoryhub.memory.models import Task


class RollUpTable(models.Model):
    """A table that the migration makes, with its keys and indexes."""

    class Meta:
        abstract = True
        managed = False


class InsightTally(RollUpTable):
    """What the tasks of one label add to one measure of a member's week: how many, and how long each took, in seconds.

    `next_own` and `next_any`: the Monday of the next week in which the same tasks count again, for the same member and
    for anybody (this very week, where another member's part of it comes after this one); `infinity` for never. So a
    task counts once in any run of weeks: in the last tally of it.
    """

    id = models.UUIDField(primary_key=True, help_text="Made of all that it is a tally of.")
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    label = models.ForeignKey(Label, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    week = models.DateField(help_text="Its Monday, in UTC.")
    member = models.ForeignKey(Membership, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    measure = models.TextField()
    next_own = models.DateField()
    next_any = models.DateField()
    number = models.IntegerField()
    spans: ClassVar = ArrayField(models.FloatField())

    class Meta(RollUpTable.Meta):
        db_table = "insight_tally"


class InsightEntry(RollUpTable):
    """What one task adds to a tally. Without a tally: the task is not rolled up, and computed with each answer.

    A task has several entries; the table has no key of its own.
    """

    task = models.OneToOneField(Task, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    label = models.ForeignKey(Label, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    tally = models.ForeignKey(InsightTally, null=True, on_delete=models.DO_NOTHING, related_name="+", db_index=False)
    span = models.FloatField(null=True)

    class Meta(RollUpTable.Meta):
        db_table = "insight_entry"


class InsightState(RollUpTable):
    """How far the roll-up has followed the team's ledger."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.DO_NOTHING, related_name="+")
    seq = models.BigIntegerField()

    class Meta(RollUpTable.Meta):
        db_table = "insight_state"
