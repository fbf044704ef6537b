"""Escalations, what people wrote on them, and the answers."""

from typing import Any, ClassVar
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from escalations.states import HELD, OPEN
from memoryhub.core.models import Labelled, Membership, Team, once_by_client_ref
from memoryhub.memory.models import Task


class ReasonCode(models.TextChoices):
    POLICY_EXCEPTION = "policy_exception"
    MISSING_INFORMATION = "missing_information"
    LOW_CONFIDENCE = "low_confidence"
    TOOL_FAILURE = "tool_failure"
    CUSTOMER_REQUEST = "customer_request"
    APPROVAL_REQUIRED = "approval_required"
    CONFLICT = "conflict"
    SAFETY = "safety"
    OTHER = "other"


class Priority(models.IntegerChoices):
    """Higher is more urgent."""

    LOW = 0, "low"
    NORMAL = 1, "normal"
    HIGH = 2, "high"
    URGENT = 3, "urgent"


class Verdict(models.TextChoices):
    """What a person may answer."""

    APPROVE = "approve"
    EDIT = "edit"
    RESPOND = "respond"
    REJECT = "reject"
    IGNORE = "ignore"
    FINISH = "finish"


class Audience(models.TextChoices):
    """Whom a note is for: people alone, or agents, too."""

    PEOPLE = "people"
    EVERYONE = "everyone"


class Queue(models.Model):
    """Where escalations wait. `claim_minutes`: how long a claim holds without an action or keystroke."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="queues")
    name = models.SlugField(max_length=60)
    claim_minutes = models.PositiveSmallIntegerField(default=30)

    class Meta:
        db_table = "queue"
        constraints: ClassVar[list[Any]] = [models.UniqueConstraint(fields=["team", "name"], name="queue_name")]

    def __str__(self) -> str:
        return self.name


class Escalation(Labelled):
    """Text: `reason`, `question`, `recommendation`, `action`. Its label is its task's; its clock is its `as_of`."""

    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="escalations")
    queue = models.ForeignKey(Queue, on_delete=models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=12, default="queued")
    version = models.IntegerField(default=1)
    change_id = models.UUIDField(null=True)  # the event of this version; of the first one it is the clock's
    reason_code = models.CharField(max_length=30, choices=ReasonCode.choices)
    allowed = ArrayField(models.CharField(max_length=10))
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    assigned_to = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    # Frozen when it is made, so that a policy that changes meanwhile does not change it.
    policy = models.JSONField(default=dict)
    client_ref = models.CharField(max_length=200, null=True)
    owner = models.ForeignKey(Membership, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    claimed_at = models.DateTimeField(null=True)
    claim_expires_at = models.DateTimeField(null=True)
    # Grows with each claim; a timer of an older one does nothing.
    generation = models.IntegerField(default=0)
    round = models.SmallIntegerField(default=1, help_text="Grows when it is reopened; each round has its answer.")
    handed_back_at = models.DateTimeField(null=True)
    closed_at = models.DateTimeField(null=True)
    unacknowledged = models.BooleanField(default=False, help_text="Closed since its agent never took the answer.")
    # Whose claim was found to be over in this transaction; not stored.
    ended_for: UUID | None = None

    class Meta(Labelled.Meta):
        db_table = "escalation"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            models.UniqueConstraint(fields=["task"], name="escalation_one_open", condition=Q(state__in=OPEN)),
            once_by_client_ref("escalation"),
            models.CheckConstraint(
                name="escalation_owner_while_claimed",
                condition=~Q(state__in=["claimed", "waiting"]) | Q(owner__isnull=False),
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team", "-priority", "id"], name="escalation_queue", condition=Q(state__in=OPEN)),
            models.Index(fields=["owner"], name="escalation_owner", condition=Q(state__in=HELD)),
            models.Index(fields=["author", "priority"], name="escalation_author", condition=Q(state__in=OPEN)),
        ]

    def __str__(self) -> str:
        return str(self.id)

    @property
    def change(self) -> UUID:
        """The event of the present version."""
        return self.change_id or self.clock_id


class Note(Labelled):
    """What a person, or the agent that asked a second time, wrote on an escalation. Text: `text`."""

    escalation = models.ForeignKey(Escalation, on_delete=models.PROTECT, related_name="notes")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="+", db_index=False)
    audience = models.CharField(max_length=10, choices=Audience.choices, default=Audience.EVERYONE)
    # Of the request that became this note, so that repeating it adds nothing.
    client_ref = models.CharField(max_length=200, null=True)

    class Meta(Labelled.Meta):
        db_table = "escalation_note"
        constraints: ClassVar[list[Any]] = [*Labelled.Meta.constraints, once_by_client_ref("escalation_note")]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["task", "-id"], name="escalation_note_of_task")]


class Answer(Labelled):
    """A person's verdict on an escalation, one a round beside those withdrawn.

    Text: `message`, `arguments`, `done`, `next`. Agents see none before it is given.
    """

    escalation = models.ForeignKey(Escalation, on_delete=models.PROTECT, related_name="answers", db_index=False)
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="+", db_index=False)
    # The event by which it became the agents': it is memory from then on.
    given_id = models.UUIDField(null=True)
    round = models.SmallIntegerField()
    verdict = models.CharField(max_length=10, choices=Verdict.choices)
    withdrawn_at = models.DateTimeField(null=True, help_text="It was never sent, and another one may be given.")

    class Meta(Labelled.Meta):
        db_table = "escalation_answer"
        constraints: ClassVar[list[Any]] = [
            *Labelled.Meta.constraints,
            models.UniqueConstraint(
                fields=["escalation", "round"],
                name="escalation_answer_once",
                condition=Q(withdrawn_at__isnull=True),
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["escalation"], name="escalation_answer_withdrawn", condition=Q(withdrawn_at__isnull=False)
            ),
            models.Index(fields=["given_id"], name="escalation_answer_given", condition=Q(given_id__isnull=False)),
            models.Index(fields=["task", "-id"], name="escalation_answer_of_task", condition=Q(given_id__isnull=False)),
        ]
