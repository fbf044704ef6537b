"""The step from a resolution to a learning, in a real browser."""

from playwright.sync_api import expect

from escalations.actions import claims
from memoryhub.memory.schemas.decisions import NewDecision, Replacement
from tests.support.desk_pages import NewPage, case, sign_in
from tests.support.desk_world import Desk


def test_a_resolution_becomes_a_learning_by_keyboard(new_page: NewPage, desk: Desk):
    made = desk.escalate("late", allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.keyboard.press("r")
    page.get_by_label("Your answer").fill("Refund it.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    expect(page.get_by_role("button", name="Make this a learning")).to_be_enabled()
    page.keyboard.press("l")
    details = page.get_by_label("What agents should know")
    expect(details).to_have_value("Asked: May I do late?\nAnswer: Refund it.")
    context = page.get_by_label("When it applies")
    context.fill("order 1042")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-learning .act-error")).to_contain_text("Line 1")
    expect(context).to_be_focused()
    context.fill("order: 1042")
    details.fill("Late parcels are refunded.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".learned")).to_contain_text("Late parcels are refunded.")
    expect(page.get_by_text("Learning saved.")).to_be_visible()
    expect(page.locator("#form-learning")).to_have_count(0)
    expect(page.locator("#kept")).to_be_hidden()


def test_what_became_of_a_decision_is_marked_where_it_stands(new_page: NewPage, desk: Desk):
    from memoryhub.core.transactions import viewer_transaction
    from memoryhub.memory.actions import decisions

    viewer = desk.agent.viewer
    made = desk.escalate("marked")
    with viewer_transaction(viewer):
        first, _ = decisions.record(viewer, item=NewDecision(task="marked", decision="wait", reasoning="Perhaps."))
    page = case(sign_in(new_page(), desk.sam), made)
    old = page.locator(f"#i-{first}")
    expect(old).not_to_contain_text("superseded")
    second, _ = decisions.supersede(
        viewer, decision_id=first, item=Replacement(decision="refund", reasoning="It is late.")
    )
    expect(page.locator(f"#i-{second}")).to_contain_text("replaces an earlier one")
    expect(old).to_contain_text("superseded")
    decisions.revoke(viewer, decision_id=second, reason="The parcel came.")
    expect(page.locator("#since")).to_contain_text("The parcel came.")
    expect(page.locator(f"#i-{second}")).to_contain_text("revoked")
