"""Drafts: what a person has typed on an escalation and not sent. Nobody else's, no event, no part of the memory."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from django.conf import settings

from escalations.models import Draft, Escalation
from memoryhub.core.access.clearance import find
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import READERS, action
from memoryhub.core.db.statements import run
from memoryhub.core.errors import NotAllowed
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.viewers import Viewer
from memoryhub.memory.actions.leases import now

FORMS = ("approve", "edit", "respond", "reject", "ignore", "finish", "cancel", "note", "learning")


@action("draft.keep", roles=READERS)
def keep(viewer: Viewer, *, escalation_id: UUID, form: str, fields: Mapping[str, str]) -> datetime | None:
    """Keep what stands in a form's fields, in the place of what was kept of it before; when that was. Empty: none.

    It is on disk when this returns. Raises NotFound, and NotAllowed past DRAFTS_PER_PERSON.
    """
    escalation = find(viewer, Escalation.objects.all(), escalation_id)
    mine = Draft.objects.filter(team_id=viewer.team, author_id=viewer.membership)
    # No event is settled after this transaction, and its COMMIT is asynchronous otherwise.
    run("set local synchronous_commit = local")
    if not fields:
        mine.filter(escalation=escalation, form=form).delete()
        return None
    # Of two tabs that keep the same form at once the later one counts: both write the one row of this id.
    draft_id = uuid5(escalation.id, f"{viewer.membership} {form}")
    if mine.exclude(id=draft_id).count() >= settings.DRAFTS_PER_PERSON:
        raise NotAllowed(f"{settings.DRAFTS_PER_PERSON} drafts of yours are kept already: send or throw away some.")
    label = label_by_id(escalation.label_id)
    columns = text_columns("escalation_draft", draft_id, label, {"fields": dict(fields)})
    kept_at = now()
    row = Draft(id=draft_id, team_id=label.team, label_id=label.id, sensitivity=label.sensitivity, **columns)
    row.author_id, row.escalation_id, row.form, row.kept_at = viewer.membership, escalation.id, form, kept_at
    Draft.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["author", "escalation", "form"],
        update_fields=["label", "sensitivity", "body", "sealed", "kept_at"],
    )
    return kept_at


@action("draft.drop", roles=READERS)
def drop(viewer: Viewer, *, escalation_id: UUID, form: str) -> None:
    """Forget a draft: it was sent, or thrown away. There need be none."""
    mine = Draft.objects.filter(team_id=viewer.team, author_id=viewer.membership)
    mine.filter(escalation_id=escalation_id, form=form).delete()


@action("draft.prune", roles=())
def prune(viewer: Viewer) -> int:
    """Forget the team's drafts that nobody has touched for DRAFT_DAYS; how many. For the system only."""
    old = "delete from escalation_draft where team_id = %s and kept_at < clock_timestamp() - make_interval(days => %s)"
    return len(run(f"{old} returning 1", [viewer.team, settings.DRAFT_DAYS]))
