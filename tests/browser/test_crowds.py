"""From ten rows of one agent on, the queue folds the rest into one line: when loaded, and live."""

import re

from playwright.sync_api import Page, expect

from escalations.actions import answers, claims
from tests.support.desk_pages import NewPage, live, sign_in
from tests.support.desk_world import Desk
from tests.support.factories import make_agent


def table(page: Page) -> list[str]:
    """What stands in the table, line by line."""
    found: list[str] = page.locator("#rows tr").evaluate_all(
        "lines => lines.map(line => line.id + (line.dataset.more ?? ''))"
    )
    return found


def test_a_crowd_is_one_line_and_opens_on_request(new_page: NewPage, desk: Desk):
    loud = make_agent(desk.team, name="demo-intake")
    crowd = [desk.escalate(agent=loud, priority=3) for _ in range(13)]
    quiet = desk.escalate("quiet")
    claims.claim(desk.sam.viewer, escalation_id=crowd[12].id)
    page = sign_in(new_page(), desk.sam)
    fold = f"fold-{loud.membership.id}2"
    # One's own is never folded away.
    assert table(page) == [*(f"e-{row.id}" for row in crowd[:10]), fold, f"e-{crowd[12].id}", f"e-{quiet.id}"]
    expect(page).to_have_title(re.compile(r"^\(13\)"))
    page.get_by_role("link", name="demo-intake: 2 more").click()
    live(page)
    assert table(page) == [*(f"e-{row.id}" for row in crowd), f"e-{quiet.id}"]
    page.get_by_role("link", name="Fold them again").click()
    live(page)
    assert len(table(page)) == 13
    page.get_by_label("Agent").locator("xpath=ancestor::details").evaluate("details => details.open = true")
    page.get_by_label("Agent", exact=True).select_option("demo-intake")
    expect(page.locator("#rows tr")).to_have_count(13)


def test_live_equals_reload(new_page: NewPage, desk: Desk):
    loud = make_agent(desk.team, name="demo-intake")
    other = desk.escalate("other")
    page = sign_in(new_page(), desk.sam)
    made = [desk.escalate(agent=loud) for _ in range(14)]
    expect(page.locator(".crowd-count")).to_have_text("4")
    expect(page.locator("#rows tr")).to_have_count(12)

    def reloaded() -> list[str]:
        page.wait_for_timeout(1_200)
        before = table(page)
        page.reload()
        live(page)
        return before

    assert reloaded() == table(page)
    # One in front of the fold leaves, an urgent one comes, and one behind it is taken.
    claims.claim(desk.lee.viewer, escalation_id=made[0].id)
    answers.finish(desk.lee.viewer, escalation_id=made[0].id, done="Done.")
    urgent = desk.escalate(agent=loud, priority=3)
    claims.claim(desk.lee.viewer, escalation_id=made[13].id)
    expect(page.locator("#rows tr").first).to_have_id(f"e-{urgent.id}")
    expect(page.locator(f"#e-{made[0].id}")).to_have_count(0)
    expect(page.locator(".crowd-count")).to_have_text("4")
    assert reloaded() == table(page)
    # While somebody points at the table nothing moves, and the number is true.
    page.locator(f"#e-{other.id}").hover()
    before = page.locator(f"#e-{other.id}").bounding_box()
    for _ in range(3):
        desk.escalate(agent=loud)
    expect(page.locator(".crowd-count")).to_have_text("7")
    assert page.locator(f"#e-{other.id}").bounding_box() == before
    page.mouse.move(5, 5)
    assert reloaded() == table(page)
