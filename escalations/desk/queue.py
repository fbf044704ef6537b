"""The queue as the desk shows it: its filters, its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery, UUIDField, Value
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Greatest, Left, NullIf

from escalations import states
from escalations.models import Escalation, Note, Priority, ReasonCode
from escalations.selectors.escalations import escalations
from escalations.standing import as_they_are_now, in_states
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.permissions import DESK
from memoryhub.core.fields import LEVELS
from memoryhub.core.models import Event, Membership, Role, Sensitivity
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.params import Params

# What `status` may be, and the states that it stands for.
STATUSES: dict[str, tuple[str, ...]] = {
    "open": states.OPEN,
    **{state: (state,) for state in (*states.OPEN, states.HANDED_BACK)},
    "over": (states.CLOSED, states.CANCELLED, states.EXPIRED),
    "all": states.STATES,
}
DEFAULT_STATUS = "open"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the queue. `cell`: the template of a `row`'s cell; `style`: the cells' class."""

    name: str
    cell: str
    style: str = ""


COLUMNS = (
    Column("Waiting", "escalations/cells/waiting.html"),
    Column("Priority", "escalations/cells/priority.html"),
    Column("What is needed", "escalations/cells/need.html", "need"),
    Column("Agent", "escalations/cells/agent.html"),
    Column("Reason", "escalations/cells/reason.html"),
    Column("Sensitivity", "escalations/cells/sensitivity.html"),
    Column("Owner", "escalations/cells/owner.html", "owner"),
    Column("Last event", "escalations/cells/last_event.html", "last"),
)
ROWS, MOST_ROWS = 200, 1000
NAMES = ("status", "priority", "agent", "owner", "sensitivity", "reason", "q")
PARAMETERS = frozenset((*NAMES, "show", "unfold"))


@dataclass(frozen=True, slots=True)
class Filters:
    """What the queue is narrowed by, as the address has it. `owner`: `me`, `none` or a name."""

    status: str = DEFAULT_STATUS
    priority: str | None = None
    agent: str | None = None
    owner: str | None = None
    sensitivity: str | None = None
    reason: str | None = None
    q: str | None = None

    @classmethod
    def read(cls, params: Params) -> "Filters":
        """From a query. Raises Invalid."""
        return cls(
            status=params.choice("status", STATUSES) or DEFAULT_STATUS,
            priority=params.choice("priority", Priority.labels),
            agent=params.text("agent", longest=100),
            owner=params.text("owner", longest=100),
            sensitivity=params.choice("sensitivity", LEVELS),
            reason=params.choice("reason", ReasonCode.values),
            q=params.text("q", longest=200),
        )

    @property
    def narrowed(self) -> bool:
        """Whether any filter is set."""
        return self != Filters()

    @property
    def folded(self) -> int:
        """How many of the folded filters are set."""
        return sum(value is not None for value in (self.agent, self.sensitivity, self.reason))

    def as_dict(self) -> dict[str, Any]:
        """What the browser filters live rows by."""
        asked = {name: value for name in NAMES if (value := getattr(self, name)) is not None}
        return asked | {"states": STATUSES[self.status]}


def matching(viewer: Viewer, filters: Filters) -> QuerySet[Escalation]:
    """The visible escalations that fit the filters, as they are now, in no order."""
    rows = in_states(as_they_are_now(visible_to(viewer, Escalation.objects.all())), STATUSES[filters.status])
    if filters.priority:
        rows = rows.filter(priority=Priority.labels.index(filters.priority))
    if filters.agent:
        rows = rows.filter(author__name=filters.agent)
    if filters.sensitivity:
        rows = rows.filter(sensitivity=Sensitivity[filters.sensitivity.upper()])
    if filters.reason:
        rows = rows.filter(reason_code=filters.reason)
    if filters.q:
        # The text of confidential rows is sealed and not searched; their task's key is plain.
        in_words = Q(body__question__icontains=filters.q) | Q(body__reason__icontains=filters.q)
        rows = rows.filter(in_words | Q(task__key__icontains=filters.q))
    return _of_owner(viewer, rows, filters.owner)


def _of_owner(viewer: Viewer, rows: QuerySet[Any], owner: str | None) -> QuerySet[Any]:
    match owner:
        case None:
            return rows
        case "me":
            return rows.filter(owner_id=viewer.membership, over=False)
        case "none":
            return rows.filter(Q(owner__isnull=True) | Q(over=True))
    return rows.filter(owner__name=owner, over=False)


# What is needed, for a row that all viewers share: the question, else the reason; None when it is sealed. The rest of
# the text, and that of the task, may be half a megabyte, and is not loaded.
_ASKED = Left(Coalesce(NullIf(KT("body__question"), Value("")), KT("body__reason")), 2_000)

# By its id: a search of the task's events for the last one would read whatever agents have logged since.
_CHANGE = Coalesce("change_id", "clock_id", output_field=UUIDField())
_LAST = Event.objects.filter(id=OuterRef("last"))


def rows_by_id(viewer: Viewer, ids: Sequence[UUID]) -> dict[UUID, Escalation]:
    """The visible ones of these escalations, as the queue's rows, with `asked` and their last event."""
    noted = visible_to(viewer, Note.objects.filter(task=OuterRef("task_id"), escalation=OuterRef("id"))).order_by("-id")
    rows = escalations(viewer).filter(id__in=ids).annotate(asked=_ASKED)
    rows = rows.alias(last=Greatest(_CHANGE, Subquery(noted.values("clock")[:1]), output_field=UUIDField()))
    rows = rows.annotate(last_type=Subquery(_LAST.values("type")), last_at=Subquery(_LAST.values("at")))
    return {row.id: row for row in rows.defer("body", "sealed", "task__body", "task__sealed")}


def colleagues(viewer: Viewer) -> tuple[list[str], list[str]]:
    """The names to filter by: the team's agents, and the people who can claim. At most 200 each."""
    found: tuple[list[str], list[str]] = ([], [])
    members = Membership.objects.filter(team_id=viewer.team, is_active=True, role__in=[Role.AGENT, *DESK])
    for name, role in members.order_by("name").values_list("name", "role")[:400]:
        found[0 if role == Role.AGENT else 1].append(name)
    return found
