"""What a person has typed and not sent: kept on the server, sealed, and nobody else's."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from escalations.actions import claims, drafts
from escalations.models import Draft
from memoryhub.core.db.statements import flush
from memoryhub.core.models import Event
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from tests.support.desk_world import JSON, Desk, act, browser_of, events, post
from tests.support.factories import make_person

WORD = "half an answer"


def keep(browser: Client, made: Any, form: str = "respond", **fields: str) -> Any:
    body = json.dumps({"form": form, "fields": fields}).encode()
    return post(browser, f"/escalations/{made.id}/draft", body, **JSON)


def kept(browser: Client, made: Any) -> dict[str, dict[str, str]]:
    answer = browser.get(f"/escalations/{made.id}/drafts/", headers=JSON)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    return {draft["form"]: draft["fields"] for draft in answer.json()["drafts"]}


@pytest.mark.parametrize("sensitivity", [1, 2])
def test_a_draft_is_its_authors_alone_and_outlives_session_and_claim(desk: Desk, sensitivity: int):
    lee = browser_of(desk.lee)
    other = browser_of(make_person(desk.team, "admin", 2, ["finance"]))
    agent = make_person(desk.team, clearance=2)
    made = desk.escalate(agent=None if sensitivity < 2 else high_agent(desk), sensitivity=sensitivity)
    claims.claim(agent.viewer, escalation_id=made.id)
    mine = browser_of(agent)
    assert keep(mine, made, message=WORD).json()["kept_at"].endswith("Z")
    assert keep(mine, made, message=f"{WORD} more").status_code == 200
    assert keep(mine, made, form="note", text="A note.").status_code == 200
    claims.release(desk.lee.viewer, escalation_id=made.id)
    again = browser_of(agent)
    assert kept(again, made) == {"note": {"text": "A note."}, "respond": {"message": f"{WORD} more"}}
    assert kept(lee, made) == kept(other, made) == {}
    assert rows(lee_viewer := desk.lee.viewer) == 0, lee_viewer
    assert rows(system_viewer(desk.team.id)) == 2  # which counts and removes old ones, and opens none
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        assert not Event.objects.filter(type__startswith="draft").exists()
        texts = list(Draft.objects.filter(escalation_id=made.id).values_list("body", "sealed"))
    assert all((body is None and WORD.encode() not in bytes(sealed)) == (sensitivity == 2) for body, sealed in texts)


def high_agent(desk: Desk) -> Any:
    from tests.support.factories import make_agent

    return make_agent(desk.team, 2)


def rows(viewer: Viewer) -> int:
    """How many drafts the database shows this viewer, without any filter of ours."""
    with viewer_transaction(viewer, read_only=True):
        flush()
        return int(connection.connection.execute("select count(*) from escalation_draft").fetchone()[0])


def test_what_was_sent_is_forgotten_and_the_rest_stays(desk: Desk, sam: Client):
    made = desk.escalate(allowed=["respond", "reject"])
    act(sam, made, "claim")
    for form in ("respond", "reject", "note"):
        keep(sam, made, form=form, message="x")
    assert act(sam, made, "note", {"text": "Sent."}).status_code == 200
    assert act(sam, made, "decide", {"verdict": "respond", "message": " "}).status_code in (400, 422)
    assert sorted(kept(sam, made)) == ["reject", "respond"]
    assert act(sam, made, "decide", {"verdict": "respond", "message": "Sent."}).status_code == 200
    assert sorted(kept(sam, made)) == ["reject"]
    assert keep(sam, made, form="reject").json() == {"kept_at": None}  # without fields: thrown away
    assert kept(sam, made) == {}


def test_drafts_are_bounded(desk: Desk, sam: Client, settings):
    made, other = desk.escalate(), desk.escalate()
    settings.DRAFT_BYTES, settings.DRAFTS_PER_PERSON = 2_000, 1
    assert keep(sam, made, message="x" * 2_000).status_code == 413
    assert keep(sam, made, message="x" * 1_900).status_code == 200
    assert keep(sam, made, message="y").status_code == 200
    refused = keep(sam, other, message="x")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_allowed")
    assert (kept(sam, made), kept(sam, other)) == ({"respond": {"message": "y"}}, {})


def test_old_drafts_are_forgotten(desk: Desk, sam: Client, owner_sql):
    made, other = desk.escalate(), desk.escalate()
    keep(sam, made, message="old")
    keep(sam, other, message="new")
    before = events(desk)
    aged = "update escalation_draft set kept_at = now() - interval '30 days 1 minute' where escalation_id = %s"
    owner_sql.execute(aged, [str(made.id)])
    assert drafts.prune(system_viewer(desk.team.id)) == 1
    assert (kept(sam, made), kept(sam, other)) == ({}, {"respond": {"message": "new"}})
    assert events(desk) == before


@pytest.mark.parametrize(
    "body",
    [b"[]", b'{"form": "other", "fields": {}}', b'{"form": "note", "fields": {"a": 1}}', b'{"form": "note"}'],
)
def test_odd_drafts_are_refused(desk: Desk, sam: Client, body: bytes):
    made = desk.escalate()
    assert post(sam, f"/escalations/{made.id}/draft", body, **JSON).status_code == 400


def test_nobody_keeps_a_draft_of_what_they_may_not_see(desk: Desk, sam: Client):
    hidden = desk.escalate(agent=high_agent(desk), sensitivity=2)
    assert keep(sam, hidden, message="x").status_code == 404
    assert sam.get(f"/escalations/{hidden.id}/drafts/", headers=JSON).status_code == 404


def test_what_somebody_else_typed_is_not_sent(desk: Desk, sam: Client, lee: Client):
    made = desk.escalate(allowed=["respond"])
    act(lee, made, "claim")
    sams = {**JSON, "X-Hub-Member": str(desk.sam.membership.id)}
    for path, body in (
        ("draft", b'{"form": "respond", "fields": {"message": "sam"}}'),
        ("decide", b'{"verdict": "respond", "message": "sam"}'),
    ):
        refused = post(lee, f"/escalations/{made.id}/{path}", body, **sams)
        assert (refused.status_code, "signed in as lee" in refused.json()["detail"]) == (403, True)
    assert kept(lee, made) == {}
    lees = {**JSON, "X-Hub-Member": str(desk.lee.membership.id)}
    assert (
        post(lee, f"/escalations/{made.id}/decide", {"verdict": "respond", "message": "lee"}, **lees).status_code == 200
    )
