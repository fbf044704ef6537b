"""What is sent is what stood there when it was sent; nothing else takes the words, the focus or the page."""

from playwright.sync_api import expect

from escalations.actions import claims
from tests.support.desk_pages import (
    NewPage,
    answering,
    case,
    first,
    held,
    hold,
    keeps,
    live,
    sign_in,
    sign_out_elsewhere,
    words,
    writing,
)
from tests.support.desk_world import ACTION, Desk


def test_what_is_typed_while_the_draft_is_still_being_kept_is_not_sent(new_page: NewPage, desk: Desk):
    made, page = writing(desk, new_page)
    keeping = hold(page, "**/draft")
    page.keyboard.type("you")
    under_way = first(page, keeping)
    page.keyboard.press("Control+Enter")
    page.keyboard.type(" n")
    under_way.continue_()
    page.unroute("**/draft")
    expect(page.locator("#toasts")).to_contain_text("The note is on the timeline.")
    expect(page.locator("#form-note textarea").first).to_have_value("Dear you n")
    expect(page.locator("#since").get_by_text("Dear you", exact=True)).to_have_count(1)
    keeps(page, made, "note", {"text": "Dear you n"})


def test_a_form_is_not_sent_before_what_was_kept_of_it_is_loaded(new_page: NewPage, desk: Desk):
    made, page = answering(desk, new_page)
    expect(words(page)).to_have_text("kept")
    loading = hold(page, "**/drafts/")
    page.reload()
    under_way = first(page, loading)
    page.get_by_role("button", name="Respond").click()
    page.keyboard.type("Hello")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-respond .act-error")).to_contain_text("is still loading", timeout=8_000)
    under_way.continue_()
    expect(page.locator("#kept pre")).to_contain_text("Dear")
    assert str(made.id) in held(desk)


def test_a_page_that_is_signed_out_is_not_left_for_something_that_is_loaded(new_page: NewPage, desk: Desk):
    _, page = answering(desk, new_page)
    sign_out_elsewhere(page)
    page.keyboard.type(" all")
    with page.expect_response(lambda answer: answer.status == 401):
        page.evaluate("window.htmx.ajax('GET', `${location.pathname}panel/`, { target: '#toasts', swap: 'none' })")
    page.wait_for_timeout(500)
    assert "/login/" not in page.url
    expect(page.get_by_label("Your answer")).to_have_value("Dear  all")


def test_a_refusal_does_not_take_the_focus_from_who_goes_on_typing(new_page: NewPage, desk: Desk):
    made = desk.escalate(allowed=["edit"], action=ACTION)
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Edit").click()
    page.locator("#form-edit input[name='arguments/amount']").fill("6o")
    deciding = hold(page, "**/decide")
    page.keyboard.press("Control+Enter")
    under_way = first(page, deciding)
    word = page.locator("#message-edit")
    word.focus()
    under_way.continue_()
    expect(page.locator("#form-edit .act-error")).to_be_visible()
    page.keyboard.type("because")
    expect(word).to_have_value("because")
    live(page)
