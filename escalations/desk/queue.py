"""The queue as the desk shows it: its filters, its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    F,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    UUIDField,
    Value,
)
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce, Greatest, Left, NullIf
from django.db.models.lookups import IContains

from escalations import states
from escalations.models import Escalation, Note, Priority, ReasonCode
from escalations.selectors.escalations import escalations
from escalations.standing import as_they_are_now, is_in
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.access.permissions import DESK
from memoryhub.core.fields import LEVELS
from memoryhub.core.models import Event, Membership, Role, Sensitivity
from memoryhub.core.readable import readable
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
ORDER = ("-priority", "id")  # the most urgent first; of equals the oldest, since ids are in the order of time


class _Readable(Func):
    """The database's readable()."""

    function = "readable"
    output_field = TextField()


def place(row: Escalation) -> str:
    """The place of a row in ORDER, as a text to compare: for one that comes live."""
    return f"{9 - row.priority}{row.id}"


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
        return bool(self.query)

    @property
    def folded(self) -> int:
        """How many of the folded filters are set."""
        return sum(value is not None for value in (self.agent, self.sensitivity, self.reason))

    @property
    def query(self) -> str:
        """The query that they are read from."""
        default = Filters()
        return urlencode({name: value for name in NAMES if (value := getattr(self, name)) != getattr(default, name)})


def fits(filters: Filters, me: UUID | F) -> Q:
    """The condition that one of as_they_are_now() stands in a queue that is narrowed so: the one place that decides it.

    For the rows of a page, and for one that has changed under those who look. `me`: whom `owner=me` means.
    """
    wanted = is_in(STATUSES[filters.status]) & _owned(filters.owner, me)
    if filters.priority:
        wanted &= Q(priority=Priority.labels.index(filters.priority))
    if filters.agent:
        wanted &= Q(author__name=filters.agent)
    if filters.sensitivity:
        wanted &= Q(sensitivity=Sensitivity[filters.sensitivity.upper()])
    if filters.reason:
        wanted &= Q(reason_code=filters.reason)
    if filters.q:
        # The text of confidential rows is sealed and not searched; their task's key is plain.
        asked = readable(filters.q).text
        texts = (_Readable(KT(f"body__{name}")) for name in ("question", "reason"))
        wanted &= Q(task__key__icontains=asked) | reduce(or_, (Q(IContains(text, asked)) for text in texts))
    return wanted


def _owned(owner: str | None, me: UUID | F) -> Q:
    match owner:
        case None:
            return Q()
        case "me":
            return Q(owner_id=me, over=False)
        case "none":
            return Q(owner__isnull=True) | Q(over=True)
    return Q(owner__name=owner, over=False)


def matching(viewer: Viewer, filters: Filters) -> QuerySet[Escalation]:
    """The visible escalations that fit the filters, as they are now, in no order."""
    rows = as_they_are_now(visible_to(viewer, Escalation.objects.all()))
    return rows.filter(fits(filters, viewer.membership))


# What is needed, for a row that all viewers share: the question, else the reason; None when it is sealed. The rest of
# the text, and that of the task, may be half a megabyte, and is not loaded.
_ASKED = Left(Coalesce(NullIf(KT("body__question"), Value("")), KT("body__reason")), 2_000)

# By its id: a search of the task's events for the last one would read whatever agents have logged since.
_CHANGE = Coalesce("change_id", "clock_id", output_field=UUIDField())
_LAST = Event.objects.filter(id=OuterRef("last"))


def rows_by_id(viewer: Viewer, ids: Sequence[UUID]) -> dict[UUID, Escalation]:
    """The visible ones of these escalations, as the queue's rows, with `asked` and their last event."""
    return {row.id: row for row in _rows(viewer, ids)}


class Fit(NamedTuple):
    """Whether a row stands in a queue that is narrowed: that of the row's owner, and those of all others."""

    of_owner: bool
    of_others: bool


_NOBODY = UUID(int=0)


def fitted_rows(viewer: Viewer, ids: Sequence[UUID], watched: Sequence[Filters]) -> list[tuple[Escalation, list[Fit]]]:
    """The same rows, each with its fit into each of these queues, in two statements however many look at them."""
    rows: list[Any] = list(_rows(viewer, ids))
    fit: dict[UUID, list[Fit]] = {}
    for is_over in {row.over for row in rows}:
        # As it was read: to ask again for each queue would take many times as long.
        alike = Escalation.objects.annotate(over=Value(is_over)).filter(
            id__in=[row.id for row in rows if row.over == is_over]
        )
        columns: dict[str, Q] = {}
        for number, filters in enumerate(watched):
            columns[f"own{number}"] = fits(filters, F("owner_id"))
            if filters.owner == "me":
                columns[f"other{number}"] = fits(filters, _NOBODY)
        wrapped = {name: ExpressionWrapper(wanted, output_field=BooleanField()) for name, wanted in columns.items()}
        for found in alike.values("id", **wrapped):
            fit.setdefault(found["id"], [_fit(found, number) for number in range(len(watched))])
    return [(row, fit[row.id]) for row in rows if row.id in fit]


def _fit(found: Mapping[str, Any], number: int) -> Fit:
    own = bool(found[f"own{number}"])
    return Fit(own, bool(found.get(f"other{number}", own)))


def _rows(viewer: Viewer, ids: Sequence[UUID]) -> QuerySet[Escalation]:
    noted = visible_to(viewer, Note.objects.filter(task=OuterRef("task_id"), escalation=OuterRef("id"))).order_by("-id")
    rows = escalations(viewer).filter(id__in=ids).annotate(asked=_ASKED)
    rows = rows.alias(last=Greatest(_CHANGE, Subquery(noted.values("clock")[:1]), output_field=UUIDField()))
    rows = rows.annotate(last_type=Subquery(_LAST.values("type")), last_at=Subquery(_LAST.values("at")))
    return rows.defer("body", "sealed", "task__body", "task__sealed")


def colleagues(viewer: Viewer) -> tuple[list[str], list[str]]:
    """The names to filter by: the team's agents, and the people who can claim. At most 200 each."""
    found: tuple[list[str], list[str]] = ([], [])
    members = Membership.objects.filter(team_id=viewer.team, is_active=True, role__in=[Role.AGENT, *DESK])
    for name, role in members.order_by("name").values_list("name", "role")[:400]:
        found[0 if role == Role.AGENT else 1].append(name)
    return found
