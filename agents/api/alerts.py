"""/api/v1/alerts: what agents warn each other of. The stream of the feed pushes them: agents.waiting."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from agents.api.doors import Changed, Made, ReadEndpoint, WriteEndpoint, room
from agents.models import Agent
from memoryhub.core.errors import NotFound
from memoryhub.core.fields import EmptyBody
from memoryhub.core.models import Membership
from memoryhub.core.viewers import Viewer
from memoryhub.interface.http.pagination import Page
from memoryhub.interface.http.queries import PageQuery, about
from memoryhub.memory import models
from memoryhub.memory.actions import alerts
from memoryhub.memory.schemas.alerts import MAX_RECIPIENTS, Alert, AlertGroup, NewAlert
from memoryhub.memory.selectors import alerts as selectors
from memoryhub.memory.selectors.alerts import AlertFilters, StoredAlert


class AlertQuery(PageQuery, kw_only=True):
    state: Annotated[
        Literal["open", "acknowledged", "all"],
        about("Only those that are not acknowledged, those that are, or both. What has expired is in none."),
    ] = "open"
    sent: Annotated[bool, about("What one has sent, whatever its state, instead of what was sent to one.")] = False
    severity: Annotated[models.Severity | None, about("Only alerts of this severity.")] = None


class Alerts(ReadEndpoint, WriteEndpoint):
    """What agents want others to act on."""

    verb = "alert.send"
    scope = "alerts"

    def read(self, query: AlertQuery) -> Page[Alert]:
        """List the alerts to oneself, newest first: those that are not acknowledged, unless `state` says otherwise.

        With `sent=true` those that one has sent. A page is one snapshot; the next skip and repeat nothing made
        meanwhile. An alert stays in the list until it is acknowledged or expires.
        """
        filters = AlertFilters(state=query.state, sent=query.sent, severity=query.severity)

        def fetch(position: Any, backwards: bool, limit: int) -> list[StoredAlert]:
            return selectors.alerts(
                self.viewer, filters, position=position, backwards=backwards, limit=limit, most_bytes=room()
            )

        return self.page(fetch)

    def write(self, body: NewAlert) -> Made[Alert]:
        """Send an alert to named agents, a group, or all: 201, or 200 when its `client_ref` was there already.

        Concurrent duplicates (one `client_ref` of one's own) are sent once. Named agents who may not see it are refused
        (422 with `names`); of a group or of all they are left out. Those who join later are sent nothing.
        """
        named = not isinstance(body.to, list)
        return Made(*alerts.send(self.viewer, to=self._members(body.to), leave_out=named, item=body))

    def _members(self, to: list[str] | AlertGroup | str) -> Sequence[Membership]:
        """The active agents that are meant. Raises NotFound for a name or a group that there is not."""
        agents = Agent.objects.filter(membership__team_id=self.viewer.team, membership__is_active=True)
        agents = agents.select_related("membership")
        if isinstance(to, list):
            found = {agent.membership.name: agent.membership for agent in agents.filter(membership__name__in=to)}
            for index, name in enumerate(to):
                if name not in found:
                    raise NotFound(f"/to/{index}")
            return list(found.values())
        if isinstance(to, AlertGroup):
            agents = agents.filter(group=to.group)
            if not agents.exists():
                raise NotFound("/to/group")
        return [agent.membership for agent in agents[: MAX_RECIPIENTS + 2]]

    def render(self, outcome: Any, ahead: Any) -> Alert:
        return one(self.viewer, UUID(outcome.result))


def one(viewer: Viewer, alert_id: UUID) -> Alert:
    """An alert; to its sender with a receipt for each recipient."""
    row = selectors.find_alert(viewer, alert_id)
    shown = row.show()
    if row.is_sent:
        shown.recipients = selectors.receipts(viewer, row.id)
    return shown


class OneAlert(ReadEndpoint):
    """Read an alert to oneself that has not expired.

    Or one that one has sent, with who has acknowledged it and when; as it is at one moment.
    """

    scope = "alerts"

    def read(self, alert_id: UUID) -> Alert:
        return one(self.viewer, alert_id)


class AcknowledgeAlert(WriteEndpoint):
    """Say that one has the alert: it is delivered no more, and its sender sees when. 404 once it has expired.

    Repeating it is fine, and of concurrent requests one changes something.
    """

    verb = "alert.acknowledge"
    scope = "alerts"

    def write(self, alert_id: UUID, body: EmptyBody = EmptyBody()) -> Changed[Alert]:
        alerts.acknowledge(self.viewer, alert_id=alert_id)
        return Changed(alert_id)

    def render(self, outcome: Any, ahead: Any) -> Alert:
        return one(self.viewer, UUID(outcome.result))
