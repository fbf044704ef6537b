"""Drafts: what a person has typed on an escalation and not sent. Private, without events, outside the memory."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from django.conf import settings

from escalations.models import Draft, Escalation
from memoryhub.core.access.clearance import find
from memoryhub.core.access.labels import label_by_id
from memoryhub.core.access.permissions import READERS, action
from memoryhub.core.db.clock import now
from memoryhub.core.db.statements import run
from memoryhub.core.errors import NotAllowed
from memoryhub.core.secrecy.sealing import text_columns
from memoryhub.core.viewers import Viewer


@action("draft.keep", roles=READERS)
def keep(viewer: Viewer, *, escalation_id: UUID, form: str, fields: Mapping[str, str]) -> datetime | None:
    """Store a form's fields in place of its earlier draft; without fields, delete it. Returns when it was stored.

    It is durable when this returns. Raises NotFound, and NotAllowed past DRAFTS_PER_PERSON.
    """
    escalation = find(viewer, Escalation.objects.all(), escalation_id)
    mine = Draft.objects.filter(team_id=viewer.team, author_id=viewer.membership)
    # There is no event whose durability is waited for afterwards, and COMMIT is asynchronous otherwise.
    run("set local synchronous_commit = local")
    if not fields:
        mine.filter(escalation=escalation, form=form).delete()
        return None
    # Two tabs that save the same form write one row, which has this id: the later one wins.
    draft_id = uuid5(escalation.id, f"{viewer.membership} {form}")
    if mine.exclude(id=draft_id).count() >= settings.DRAFTS_PER_PERSON:
        raise NotAllowed(f"You have {settings.DRAFTS_PER_PERSON} drafts already: send or discard some.")
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
    """Delete a draft that was sent or discarded, if there is one."""
    mine = Draft.objects.filter(team_id=viewer.team, author_id=viewer.membership)
    mine.filter(escalation_id=escalation_id, form=form).delete()


@action("draft.prune", roles=())
def prune(viewer: Viewer) -> int:
    """Delete the team's drafts that were not changed for DRAFT_DAYS. Returns how many. For the system only."""
    old = "delete from escalation_draft where team_id = %s and kept_at < clock_timestamp() - make_interval(days => %s)"
    return len(run(f"{old} returning 1", [viewer.team, settings.DRAFT_DAYS]))
