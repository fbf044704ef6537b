"""Reading alerts: those sent to a member, those that a member has sent, and their receipts."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from memoryhub.core.access.clearance import VISIBLE, label_params
from memoryhub.core.db.fitting import BYTES, Fitted, ended, fit
from memoryhub.core.db.statements import run
from memoryhub.core.viewers import Viewer
from memoryhub.memory.schemas.alerts import Alert, PushedAlert, Receipt
from memoryhub.memory.schemas.rows import Stored, copied, select
from memoryhub.memory.selectors.memories import narrowed, only

STATES = ("open", "acknowledged", "all")


@dataclass(slots=True)
class AlertFilters:
    """Filters of a list. `sent`: what the viewer has sent, in any state; else what was sent to them."""

    state: str = "open"
    sent: bool = False
    severity: str | None = None
    ids: list[UUID] | None = None


class StoredAlert(Stored[Alert]):
    """An alert as one member sees it. `is_mine`: it was sent to them; `acknowledged`: by how many (for its sender)."""

    __slots__ = ("acknowledged", "is_mine", "is_sent", "recipients", "task_id")

    def __init__(
        self, task_id: UUID | None, is_mine: bool, is_sent: bool, recipients: int, acknowledged: int, *columns: Any
    ) -> None:
        super().__init__(Alert, *columns)
        self.task_id, self.is_mine, self.is_sent = task_id, is_mine, is_sent
        self.recipients, self.acknowledged = recipients, acknowledged

    def show(self) -> Alert:
        made = super().show()
        if self.is_sent:
            made.recipient_count, made.acknowledged_count = self.recipients, self.acknowledged
        return made

    def show_pushed(self) -> PushedAlert:
        """For a stream, whose bytes are shared: without its task, and without sealed text."""
        if self.sealed is not None:
            return copied(self.show_closed(), PushedAlert, insight=None)
        return copied(self.show(), PushedAlert)


_IS_SENT = "r.author_id = %(own)s::uuid"
_COLUMNS = f"""
r.task_id, x.id is not null, {_IS_SENT}, cardinality(r.recipients), case when {_IS_SENT} then
  (select count(*) from alert_recipient d where d.alert_id = r.id and d.acknowledged_at is not null) end,
{select(Alert)}
"""
_FROM = "alert r left join alert_recipient x on x.alert_id = r.id and x.member_id = %(own)s::uuid"
_LIVES = "(r.expires_at is null or r.expires_at > statement_timestamp())"
_STATES = {
    "open": "x.member_id = %(own)s::uuid and x.acknowledged_at is null",
    "acknowledged": "x.member_id = %(own)s::uuid and x.acknowledged_at is not null",
    "all": "x.member_id = %(own)s::uuid",
}
_CONDITIONS = {"severity": "r.severity = %(severity)s::varchar", "ids": "r.id = any (%(ids)s::uuid[])"}


def alerts(
    viewer: Viewer, filters: AlertFilters, *, position: Any = None, backwards: bool = False, limit: int, most_bytes: int
) -> Fitted[StoredAlert]:
    """Up to `limit` alerts below `position` (an id), newest first; `backwards`: above it, oldest first.

    Reads up to about `most_bytes`. An expired alert is no longer delivered; its sender still sees it.
    """
    where = ["r.author_id = %(own)s::uuid"] if filters.sent else [_STATES[filters.state], _LIVES]
    return _rows(viewer, filters, where, position, backwards, limit, most_bytes)


def find_alert(viewer: Viewer, alert_id: UUID) -> StoredAlert:
    """An alert that was sent to the viewer, or by them. Raises NotFound."""
    where = [f"(r.author_id = %(own)s::uuid or (x.id is not null and {_LIVES}))"]
    return only(_rows(viewer, AlertFilters(ids=[alert_id]), where, None, False, 1))


def to_push(viewer: Viewer, ids: Collection[UUID]) -> dict[UUID, StoredAlert]:
    """Id -> alert, of those that have not expired; by the system viewer, for the streams of their recipients."""
    rows = _rows(viewer, AlertFilters(ids=list(ids)), [_LIVES], None, False, len(ids)) if ids else []
    return {row.id: row for row in rows}


def receipts(viewer: Viewer, alert_id: UUID) -> list[Receipt]:
    """The recipients of the viewer's own alert, by name."""
    return [
        Receipt(*row)
        for row in run(
            "select m.name, d.acknowledged_at from alert_recipient d join membership m on m.id = d.member_id"
            " where d.alert_id = %(id)s::uuid order by m.name",
            {"id": alert_id},
        )
    ]


def open_all() -> None:
    """Let this transaction read the alerts of all members. The caller has checked that the viewer administers them."""
    run("select set_config('hub.opened_alerts', 'on', true)")


def _rows(
    viewer: Viewer,
    filters: AlertFilters,
    where: list[str],
    position: Any,
    backwards: bool,
    limit: int,
    most_bytes: int | None = None,
) -> Fitted[StoredAlert]:
    params: dict[str, Any] = label_params(viewer)
    params |= {"own": viewer.membership, "limit": limit, "most_bytes": most_bytes}
    conditions, given = narrowed(filters, _CONDITIONS)
    where, params = [*where, *conditions], params | given
    if position is not None:
        where.append(f"r.id {'>' if backwards else '<'} %(position)s::uuid")
        params["position"] = position
    text = (
        f"select {_COLUMNS}, {BYTES} as bytes from {_FROM}"
        f" where r.team_id = %(team)s::int and r.{VISIBLE}{''.join(f' and {part}' for part in where)}"
        f" order by r.id {'asc' if backwards else 'desc'} limit %(limit)s::int"
    )
    if most_bytes is None:
        return Fitted(StoredAlert(*row) for *row, _ in run(text, params))
    return fit(run(ended(text), params), most_bytes, StoredAlert)
