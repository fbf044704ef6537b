"""Countdowns follow the server's clock, and work on a case keeps its claim for as long as it is work."""

from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from escalations.actions import claims
from escalations.models import Escalation, Queue
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.desk_pages import NewPage, case, sign_in
from tests.support.desk_world import Desk

# A laptop whose clock is wrong by this many minutes, and which says so to every script.
WRONG = """
const wrong = %d * 60_000, Real = Date;
globalThis.Date = class extends Real {
  constructor(...given) { given.length ? super(...given) : super(Real.now() + wrong); }
  static now() { return Real.now() + wrong; }
};
"""


@pytest.mark.parametrize("minutes", [-60, -2, 0, 2, 60])
def test_a_laptop_with_a_wrong_clock_counts_right(new_page: NewPage, desk: Desk, minutes: int):
    made = desk.escalate()
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = new_page()
    page.add_init_script(WRONG % minutes)
    case(sign_in(page, desk.sam), made)
    page.wait_for_timeout(1_500)
    expect(page.locator("#standing .until")).to_have_text("29 min")
    expect(page.get_by_text("Your claim ends in")).to_be_hidden()
    assert page.locator(".brief time.since").first.inner_text().endswith(" s")
    page.goto("/")
    page.wait_for_timeout(1_500)
    expect(page.locator(".owner .until")).to_have_text("29 min left")


def short(desk: Desk, new_page: NewPage) -> tuple[Escalation, Page]:
    """Sam's page with a claim that holds for a minute, begun 20 seconds ago."""
    made = desk.escalate(allowed=["respond"])
    with viewer_transaction(system_viewer(desk.team.id)):
        Queue.objects.filter(team=desk.team).update(claim_minutes=1)
        row = Escalation.objects.get(id=made.id)
        row.policy["claim_minutes"] = 1
        row.save(update_fields=["policy"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    return made, sign_in(new_page(), desk.sam)


def left(made: Escalation, desk: Desk) -> timedelta:
    """How much longer the claim holds than it did when it was made."""
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        row = Escalation.objects.get(id=made.id)
        assert row.claim_expires_at is not None
        assert row.claimed_at is not None
        return row.claim_expires_at - row.claimed_at - timedelta(minutes=1)


@pytest.mark.parametrize("work", ["typing", "pointer", "wheel", "nothing"])
def test_work_keeps_a_claim_of_one_minute_and_an_open_tab_does_not(new_page: NewPage, desk: Desk, owner_sql, work: str):
    made, page = short(desk, new_page)
    aged = "update escalation set claim_expires_at = claim_expires_at - interval '20 seconds',"
    owner_sql.execute(f"{aged} claimed_at = claimed_at - interval '20 seconds' where id = %s", [str(made.id)])
    case(page, made)
    if work == "typing":
        page.get_by_role("button", name="Respond").click()
        page.keyboard.type("Hello")
    elif work == "pointer":
        page.mouse.move(200, 200)
        page.mouse.move(300, 300)
    elif work == "wheel":
        page.mouse.wheel(0, 100)
    page.wait_for_timeout(4_000)
    kept = left(made, desk)
    assert kept == timedelta(0) if work == "nothing" else kept >= timedelta(seconds=15)


def test_a_claim_that_cannot_be_kept_says_so(new_page: NewPage, desk: Desk, owner_sql):
    made, page = short(desk, new_page)
    aged = "update escalation set claim_expires_at = claim_expires_at - interval '20 seconds' where id = %s"
    owner_sql.execute(aged, [str(made.id)])
    case(page, made)
    page.route("**/keep", lambda route: route.abort())
    page.mouse.wheel(0, 100)
    expect(page.get_by_role("alert").filter(has_text="could not be kept")).to_contain_text("no connection")
    page.unroute("**/keep")
    page.mouse.wheel(0, 100)
    expect(page.get_by_text("could not be kept")).to_be_hidden(timeout=15_000)


def test_a_short_claim_warns_in_its_last_quarter(new_page: NewPage, desk: Desk, owner_sql):
    made, page = short(desk, new_page)
    warning = page.get_by_text("Your claim ends in")
    case(page, made)
    page.wait_for_timeout(1_500)
    expect(warning).to_be_hidden()
    aged = "update escalation set claim_expires_at = claim_expires_at - interval '48 seconds' where id = %s"
    owner_sql.execute(aged, [str(made.id)])
    case(page, made)
    expect(warning).to_be_visible()
