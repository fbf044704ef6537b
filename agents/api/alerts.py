"""/api/v1/alerts: messages to agents, until they are acknowledged. The feed's stream pushes them (agents.waiting)."""

from collections.abc import Sequence
from functools import partial
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
from memoryhub.memory.selectors.alerts import AlertFilters


class AlertQuery(PageQuery, kw_only=True):
    state: Annotated[
        Literal["open", "acknowledged", "all"],
        about("Only alerts that are not acknowledged, those that are, or both. Expired alerts are in none."),
    ] = "open"
    sent: Annotated[bool, about("Alerts that you have sent, in any state, instead of those sent to you.")] = False
    severity: Annotated[models.Severity | None, about("Only alerts of this severity.")] = None


class AlertEndpoint(WriteEndpoint):
    """A verb on an alert; it returns the alert."""

    def render(self, outcome: Any, ahead: Any) -> Alert:
        return one(self.viewer, UUID(outcome.result))


class Alerts(ReadEndpoint, AlertEndpoint):
    """The team's alerts."""

    address = "alerts"
    verb = "alert.send"
    scope = "alerts"

    def read(self, query: AlertQuery) -> Page[Alert]:
        """List the alerts sent to you, newest first: those not acknowledged, unless `state` says otherwise.

        With `sent=true` those that you have sent. Each page is one snapshot; `next` neither skips nor repeats a row.
        An alert stays in the list until it is acknowledged or expires.
        """
        filters = AlertFilters(state=query.state, sent=query.sent, severity=query.severity)
        return self.page(partial(selectors.alerts, self.viewer, filters, most_bytes=room()))

    def write(self, body: NewAlert) -> Made[Alert]:
        """Send an alert to named agents, a group, or all: 201, or 200 for a repeated `client_ref`.

        Concurrent duplicates (the same author and `client_ref`) are sent once. Named agents that may not see it are
        refused (422 with `names`); of a group or of all they are left out. Agents that join later get nothing.
        """
        named = not isinstance(body.to, list)
        return Made(*alerts.send(self.viewer, to=self._members(body.to), leave_out=named, item=body))

    def _members(self, to: list[str] | AlertGroup | str) -> Sequence[Membership]:
        """The active agents that `to` names. Raises NotFound for an unknown name or group."""
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


def one(viewer: Viewer, alert_id: UUID) -> Alert:
    """An alert; for its sender with a receipt per recipient."""
    row = selectors.find_alert(viewer, alert_id)
    shown = row.show()
    if row.is_sent:
        shown.recipients = selectors.receipts(viewer, row.id)
    return shown


class OneAlert(ReadEndpoint):
    """Read an unexpired alert that was sent to you, or one that you have sent.

    Its sender also gets who has acknowledged it and when. Reads one snapshot.
    """

    address = "alerts/<uuid:alert_id>"
    scope = "alerts"

    def read(self, alert_id: UUID) -> Alert:
        return one(self.viewer, alert_id)


class AcknowledgeAlert(AlertEndpoint):
    """Acknowledge an alert: it is no longer delivered, and its sender sees when. 404 once it has expired.

    Idempotent; of concurrent requests one takes effect.
    """

    address = "alerts/<uuid:alert_id>/acknowledge"
    verb = "alert.acknowledge"

    def write(self, alert_id: UUID, body: EmptyBody = EmptyBody()) -> Changed[Alert]:
        alerts.acknowledge(self.viewer, alert_id=alert_id)
        return Changed(alert_id)
