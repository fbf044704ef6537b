"""Reading drafts: a person's own."""

from typing import Any
from uuid import UUID

from escalations.models import Draft
from memoryhub.core.access.clearance import visible_to
from memoryhub.core.secrecy.sealing import unseal
from memoryhub.core.viewers import Viewer


def of_case(viewer: Viewer, escalation_id: UUID) -> list[dict[str, Any]]:
    """The viewer's own drafts of an escalation: `form`, its `fields` (name -> text), `kept_at`.

    Those that no longer open are left out.
    """
    rows = visible_to(viewer, Draft.objects.filter(author_id=viewer.membership, escalation_id=escalation_id))
    found = []
    for row in rows.order_by("form"):
        # One's own words: opening them is not recorded; reading the case is, by its page.
        text = row.body or unseal("escalation_draft", row.id, row.label_id, bytes(row.sealed or b""), 1)
        if "fields" in text:
            found.append({"form": row.form, "fields": text["fields"], "kept_at": row.kept_at})
    return found
