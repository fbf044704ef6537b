"""/api/v1/alerts: send, list, read, acknowledge. The stream of the feed pushes them: agents.waiting."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from agents.api.doors import Answer, Outcome, Reading, Writing, not_found_at, room
from agents.api.tasks import level_value, none_if_unset
from agents.models import Agent
from memoryhub.core.errors import NotFound
from memoryhub.core.models import Membership
from memoryhub.interface.http.pagination import Listed
from memoryhub.interface.http.shapes import Line, NewRow, Shape, TaskKey, Text, When
from memoryhub.memory import answers, rendering
from memoryhub.memory.actions import alerts
from memoryhub.memory.models import Severity
from memoryhub.memory.selectors import alerts as selectors
from memoryhub.memory.selectors import tasks as task_selectors

SEVERITIES = tuple(Severity.values)


class Group(Shape, kw_only=True):
    """The active agents of a group (`GET /agents` tells it)."""

    group: Line


class NewAlert(NewRow, kw_only=True):
    to: Annotated[list[Line], Meta(min_length=1, max_length=alerts.MAX_RECIPIENTS)] | Group | Literal["all"]
    insight: Text
    severity: Literal["info", "warning", "critical"] = "info"
    task: TaskKey | None = None
    expires_at: When | None = None


class Alerts(Reading, Writing):
    """What agents want others to act on."""

    verb = "alert.send"
    scope = "alerts"
    shape = NewAlert
    shows = Listed[answers.Alert]
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Alert, 201: answers.Alert}
    parameters: ClassVar[frozenset[str]] = frozenset({"state", "sent", "severity", "limit", "cursor"})

    def read(self, **url: Any) -> Answer:
        """List the alerts to oneself, newest first: those that are not acknowledged, unless `state` says otherwise.

        With `sent=true` those that one has sent. A page is one snapshot; the next skip and repeat nothing made
        meanwhile. An alert stays in the list until it is acknowledged or expires.
        """
        filters = selectors.Filters(
            state=self.params.choice("state", selectors.STATES) or "open",
            sent=self.params.boolean("sent") or False,
            severity=self.params.choice("severity", SEVERITIES),
        )

        def fetch(position: Any, backwards: bool, limit: int) -> list[selectors.AlertRow]:
            return selectors.alerts(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.paged(fetch, rendering.alert)

    def write(self, body: NewAlert, **url: Any) -> Outcome:
        """Send an alert to named agents, a group, or all: 201, or 200 when its `client_ref` was there already.

        Of several at once with one `client_ref` of one's own, one is sent. Named agents who may not see it are refused
        (422 with `names`); of a group or of all they are left out. Who joins later is sent nothing.
        """
        with not_found_at("/task"):
            task = task_selectors.ref_by_key(self.viewer, body.task) if body.task else None
        made, created = alerts.send(
            self.viewer,
            to=self._members(body.to),
            leave_out=not isinstance(body.to, list),
            insight=body.insight,
            severity=body.severity,
            task=task,
            expires_at=body.expires_at,
            client_ref=body.client_ref,
            sensitivity=level_value(body.sensitivity),
            compartments=none_if_unset(body.compartments),
        )
        return Outcome(201 if created else 200, str(made))

    def _members(self, to: list[str] | Group | str) -> Sequence[Membership]:
        """The active agents that are meant. Raises NotFound for a name or a group that there is not."""
        agents = Agent.objects.filter(membership__team_id=self.viewer.team, membership__is_active=True)
        agents = agents.select_related("membership")
        if isinstance(to, list):
            found = {agent.membership.name: agent.membership for agent in agents.filter(membership__name__in=to)}
            for index, name in enumerate(to):
                if name not in found:
                    raise NotFound(f"/to/{index}")
            return list(found.values())
        if isinstance(to, Group):
            agents = agents.filter(group=to.group)
            if not agents.exists():
                raise NotFound("/to/group")
        return [agent.membership for agent in agents[: alerts.MAX_RECIPIENTS + 2]]

    def render(self, outcome: Outcome) -> Answer:
        return one(self.viewer, UUID(outcome.result), outcome.status)


def one(viewer: Any, alert_id: UUID, status: int = 200) -> Answer:
    """An alert; to its sender with a receipt for each recipient."""
    row = selectors.find_alert(viewer, alert_id)
    made = rendering.alert(row)
    if row.is_sent:
        made["recipients"] = [receipt._asdict() for receipt in selectors.receipts(viewer, row.id)]  # type: ignore[misc]
    return Answer(made, status)


class OneAlert(Reading):
    """An alert to oneself that has not expired; or one that one has sent, with who has acknowledged it and when.

    As it is at one moment.
    """

    scope = "alerts"
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Alert}

    def read(self, **url: Any) -> Answer:
        return one(self.viewer, url["alert_id"])


class Nothing(Shape, kw_only=True):
    pass


class AcknowledgeAlert(Writing):
    """Say that one has the alert: it is delivered no more, and its sender sees when. 404 once it has expired.

    Repeating it is fine, and of several at once one changes something.
    """

    verb = "alert.acknowledge"
    scope = "alerts"
    shape = Nothing
    body_optional = True
    answers: ClassVar[Mapping[int, Any]] = {200: answers.Alert}

    def write(self, body: Nothing, **url: Any) -> Outcome:
        alerts.acknowledge(self.viewer, alert_id=url["alert_id"])
        return Outcome(200, str(url["alert_id"]))

    def render(self, outcome: Outcome) -> Answer:
        return one(self.viewer, UUID(outcome.result))
