"""Facts: the newest version of the value under a key, and every version it had."""

from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q

from memoryhub.core.models import EventSeq, Labelled, once_by_client_ref
from memoryhub.memory.models.tasks import Task


class Versioned(Labelled):
    """The columns of a fact and of each of its versions. Text: `value` (any JSON); a deleted one has none.

    Author, clock and times are those of the version. The task is an attribute of it, not part of the key.
    """

    # Without the index that other kinds have: no query looks up a fact by its event, and where no indexed column
    # changes, a new version is a HOT update, which leaves the indexes as they are.
    clock = models.ForeignKey(
        EventSeq,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_column="event_id",
        db_index=False,
    )
    version = models.IntegerField()
    deleted = models.BooleanField(default=False)
    task = models.ForeignKey(Task, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    expires_at = models.DateTimeField(null=True)
    valid_from = models.DateTimeField(null=True)
    valid_to = models.DateTimeField(null=True)
    client_ref = models.CharField(max_length=200, null=True)

    class Meta(Labelled.Meta):
        abstract = True
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            models.CheckConstraint(name="%(class)s_version_counts", condition=Q(version__gte=1)),
            models.CheckConstraint(
                name="%(class)s_valid_for_a_time",
                condition=Q(valid_from__isnull=True) | Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
            ),
        ]


class Fact(Versioned):
    """A key's row: its newest version. It is never removed, so that version numbers continue after a deletion."""

    # Keys are ASCII; in this collation a prefix is a range of the index, whatever the database's default is.
    key = models.CharField(max_length=200, db_collation="C")
    changed_at = models.DateTimeField()

    class Meta(Versioned.Meta):
        db_table = "fact"
        constraints: ClassVar[list[Any]] = [
            *Versioned.Meta.constraints,
            # The label is part of the key, so that a hidden fact can never collide with a visible one.
            models.UniqueConstraint(fields=["team", "label", "key"], name="fact_key"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team", "key", "id"], name="fact_by_key"),
            models.Index(fields=["task", "key", "id"], name="fact_of_task", condition=Q(task__isnull=False)),
        ]

    @property
    def text_version(self) -> int:  # type: ignore[override]  # a column elsewhere, counted alike
        """Each version has its own text."""
        return self.version

    def __str__(self) -> str:
        return self.key


class FactVersion(Versioned):
    """One version of a fact, kept for good; the newest is in the fact's row as well, for fast reads."""

    fact = models.ForeignKey(Fact, on_delete=models.PROTECT, related_name="versions", db_index=False)

    app_may = "SELECT, INSERT"

    class Meta(Versioned.Meta):
        db_table = "fact_version"
        constraints: ClassVar[list[Any]] = [
            *Versioned.Meta.constraints,
            models.UniqueConstraint(fields=["fact", "version"], name="fact_version_once"),
            once_by_client_ref("fact_version"),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # Which facts a task ever had, for the package of its escalation.
            models.Index(
                fields=["task", "fact", "version"], name="fact_version_of_task", condition=Q(task__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return str(self.version)
