"""The one label that decides who may read a row, and the base of every row that carries it."""

from typing import Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from memoryhub.core.ids import new_id
from memoryhub.core.models.ledger import EventSeq
from memoryhub.core.models.people import Membership, Sensitivity, Team


class Label(models.Model):
    """(team, sensitivity, sorted compartments). Its id is a small integer, since it stands in every row and policy."""

    id = models.AutoField(primary_key=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="labels")
    sensitivity = models.SmallIntegerField(choices=Sensitivity.choices)
    compartments = ArrayField(models.CharField(max_length=40), default=list)
    # Whose first use made it, for their number of labels; null: the system, or before labels were counted.
    maker = models.ForeignKey(Membership, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)

    app_may = "SELECT, INSERT"

    class Meta:
        db_table = "label"
        constraints: ClassVar[list[Any]] = [
            models.UniqueConstraint(fields=["team", "sensitivity", "compartments"], name="label_once"),
            # The target of every row's composite foreign key, which holds the row's copy of the sensitivity equal.
            models.UniqueConstraint(fields=["id", "team", "sensitivity"], name="label_with_sensitivity"),
            models.CheckConstraint(name="label_sensitivity_known", condition=Q(sensitivity__in=[0, 1, 2])),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["maker"], name="label_maker", condition=Q(maker__isnull=False))
        ]

    def __str__(self) -> str:
        return "+".join([Sensitivity(self.sensitivity).label, *self.compartments])


class LabelSet(models.Model):
    """A team's labels as a whole: `version`, a random number, is another after each new label (a trigger sets it)."""

    team = models.OneToOneField(Team, primary_key=True, on_delete=models.PROTECT, related_name="+")
    version = models.UUIDField()

    app_may = "SELECT"

    class Meta:
        db_table = "label_set"


class Labelled(models.Model):
    """A row with a label. Its free text is in `body`, or sealed in `sealed` when the label is confidential."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Team and label are held by one composite foreign key on (label, team, sensitivity), made by the migration.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    label = models.ForeignKey(Label, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False)
    sensitivity = models.SmallIntegerField(choices=Sensitivity.choices)
    body = models.JSONField(null=True)
    sealed = models.BinaryField(null=True)
    author = models.ForeignKey(Membership, on_delete=models.PROTECT, related_name="+", db_index=False)
    # The event that made the row; EventSeq tells its `seq`. No constraint: the event is written after the row.
    clock = models.ForeignKey(
        EventSeq, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_column="event_id"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # What a sealed text is bound to; rows whose text changes have a column of this name.
    text_version = 1

    class Meta:
        abstract = True
        constraints: ClassVar[list[Any]] = [
            models.CheckConstraint(
                name="%(class)s_sealed_if_confidential",
                condition=Q(sensitivity=2, sealed__isnull=False, body__isnull=True)
                | Q(sensitivity__lt=2, sealed__isnull=True, body__isnull=False),
            )
        ]


def once_by_client_ref(table: str) -> models.UniqueConstraint:
    """An author uses a `client_ref` once under a label."""
    return models.UniqueConstraint(
        fields=["author", "label", "client_ref"], name=f"{table}_client_ref", condition=Q(client_ref__isnull=False)
    )


def seq_of_row() -> F:
    """The row's `seq`, for annotations and order."""
    return F("clock__seq")
