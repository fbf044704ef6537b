"""Typing is sacred: what arrives moves, disables and erases nothing, and no key of a sentence is a command."""

import random
import re

import pytest
from playwright.sync_api import expect

from escalations.actions import answers, claims
from escalations.models import Escalation
from escalations.selectors.escalations import answer_of
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.json import dump
from tests.support.desk_pages import NewPage, answering, case, held, live, send_login, sign_in, sign_out_elsewhere
from tests.support.desk_world import ACTION, Desk

SENTENCE = "no can do: nine cranes can reach an exact note, come and claim next neck, excellent raccoon"


def take_by_force(desk: Desk, made: Escalation) -> None:
    claims.release(desk.lee.viewer, escalation_id=made.id)
    claims.claim(desk.lee.viewer, escalation_id=made.id)


def answer_elsewhere(desk: Desk, made: Escalation) -> None:
    take_by_force(desk, made)
    answers.decide(desk.lee.viewer, escalation_id=made.id, verdict="respond", message="Lee's answer.")


ENDS = {
    "released": lambda desk, made: claims.release(desk.lee.viewer, escalation_id=made.id),
    "taken": take_by_force,
    "answered": answer_elsewhere,
}


@pytest.mark.parametrize("end", ENDS)
def test_a_claim_that_ends_under_a_typist_costs_no_word_and_takes_no_case(new_page: NewPage, desk: Desk, end: str):
    made, page = answering(desk, new_page)
    field = page.get_by_label("Your answer")
    at = random.Random(end).randrange(10, 40)
    for number, letter in enumerate(SENTENCE):
        if number == at:
            ENDS[end](desk, made)
        page.keyboard.press("Space" if letter == " " else letter)
        page.wait_for_timeout(20)
    expect(field).to_have_attribute("readonly", "")
    expect(page.locator("#form-respond .locked-words")).to_be_visible()
    expect(field).to_be_focused()
    typed = field.input_value()
    assert f"Dear {SENTENCE}".startswith(typed)
    assert len(typed) >= len("Dear ") + at
    assert field.evaluate("field => field.selectionStart") == len(typed)
    assert page.evaluate("scrollY") == 0, "a space moved the page away"
    assert held(desk) == []
    # It is there again for who comes back, and can be sent after a new claim.
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept")
    page.goto("/")
    case(page, made)
    if end == "released":
        expect(field).to_have_value(typed)
        page.get_by_role("button", name="Claim").click()
        expect(field).to_be_editable()
        page.get_by_role("button", name="Send and hand back").click()
        expect(page.locator("#since")).to_contain_text(typed)
        expect(page.locator("#kept")).to_be_hidden()
    else:
        expect(page.locator("#main")).to_contain_text("Lee's answer." if end == "answered" else "lee has had it")
        if end == "answered":
            assert page.locator("#kept pre").text_content() == typed
        else:
            expect(field).to_have_value(typed)


def test_a_field_that_vanishes_makes_no_key_a_command(new_page: NewPage, desk: Desk):
    for _ in range(5):
        desk.escalate()
    page = sign_in(new_page(), desk.sam)
    page.keyboard.press("/")
    for number, letter in enumerate(SENTENCE):
        if number == 20:
            page.evaluate("document.getElementById('search').remove()")
        if number == 60:
            page.evaluate("document.querySelector('.brand').focus()")
        page.keyboard.press("Space" if letter == " " else letter)
    page.wait_for_timeout(4_000)  # to think
    for letter in "know":
        page.keyboard.press(letter)
    # After a long while keys are commands again; those that take a case ask for more than that, and say so.
    page.wait_for_timeout(10_500)
    for letter in "nc":
        page.keyboard.press(letter)
        expect(page.get_by_text(f"“{letter}” did nothing")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/(\?q=.*)?$"))
    assert held(desk) == []
    # The control: after something that is no typing, the same letter is a command.
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile("/escalations/"))
    assert len(held(desk)) == 1


def test_a_page_that_loads_itself_anew_makes_no_command_of_the_sentence_that_goes_on(new_page: NewPage, desk: Desk):
    for _ in range(3):
        desk.escalate()
    page = sign_in(new_page(), desk.sam)
    page.keyboard.press("/")
    page.keyboard.type("an exam")
    page.wait_for_timeout(5_000)  # to think
    page.evaluate("location.reload()")
    live(page)
    page.keyboard.press("n")
    page.wait_for_timeout(500)
    assert held(desk) == []
    # The control: who leaves the field by a click of their own goes on with keys at once.
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("May")
    page.locator("h1").click()
    page.reload()
    live(page)
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile("/escalations/"))


@pytest.mark.parametrize("how", ["field.disabled = true", "field.blur()", "field.remove()", "field.hidden = true"])
def test_a_focus_that_is_lost_by_itself_silences_the_keys(new_page: NewPage, desk: Desk, how: str):
    _, page = answering(desk, new_page)
    before = held(desk)
    page.get_by_label("Your answer").evaluate(f"field => {{ {how} }}")
    for letter in "n can c next":
        page.keyboard.press("Space" if letter == " " else letter)
    page.wait_for_timeout(300)
    assert held(desk) == before
    expect(page).to_have_url(re.compile("/escalations/"))
    # What the person does is no loss: after a click the keys are commands.
    page.locator("h1").click()
    page.keyboard.press("x")
    expect(page.locator("#form-note")).to_have_class(re.compile("is-open"))


def test_what_arrives_leaves_caret_selection_and_every_field(new_page: NewPage, desk: Desk):
    made, page = answering(desk, new_page, allowed=["edit", "respond"], action=ACTION)
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("order", exact=True).fill("1043")
    word = page.locator("#message-edit")
    word.fill("one two three")
    word.evaluate("field => field.setSelectionRange(4, 7)")
    for number in range(3):
        with page.expect_response("**/panel/"):
            claims.keep(desk.sam.viewer, escalation_id=made.id)
        page.wait_for_timeout(200 + number)
    expect(word).to_be_focused()
    assert word.evaluate("field => [field.selectionStart, field.selectionEnd]") == [4, 7]
    expect(page.get_by_label("order", exact=True)).to_have_value("1043")


def test_a_session_that_has_ended_keeps_the_words_and_sends_after_signing_in(new_page: NewPage, desk: Desk):
    made, page = answering(desk, new_page)
    page.keyboard.type("customer")
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Send and hand back").click()
    expect(page.locator("#form-respond .act-error")).to_contain_text("You are signed out. What you wrote stays here")
    expect(page.get_by_label("Your answer")).to_have_value("Dear customer")
    # Lee signs in in another tab of this browser: what sam typed is not sent as lee's.
    other = page.context.new_page()
    sign_in(other, desk.lee)
    page.get_by_role("button", name="Send and hand back").click()
    expect(page.locator("#form-respond .act-error")).to_contain_text("signed in as lee")
    other.goto(f"/escalations/{made.id}/")
    live(other)
    assert "Dear customer" not in other.content()
    other.context.clear_cookies()
    with page.expect_popup() as opening:
        page.get_by_role("button", name="Send and hand back").click()
        page.get_by_role("link", name="Sign in again in a new tab").click()
    signing = opening.value
    send_login(signing, desk.sam.username)
    live(signing)
    expect(page.get_by_label("Your answer")).to_have_value("Dear customer")
    page.get_by_role("button", name="Send and hand back").click()
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    storage = "JSON.stringify([{...localStorage}, {...sessionStorage}])"
    assert "customer" not in page.evaluate(storage)


def test_what_was_typed_while_signed_out_is_kept_after_signing_in(new_page: NewPage, desk: Desk):
    _, page = answering(desk, new_page)
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept")
    other = sign_out_elsewhere(page)
    page.keyboard.type("customer")
    expect(page.locator("#form-respond .kept-words")).to_contain_text("not kept: you are signed out.")
    expect(page.locator("#live")).to_contain_text("signed out")
    sign_in(other, desk.sam)
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept", timeout=15_000)
    page.reload()
    expect(page.get_by_label("Your answer")).to_have_value("Dear customer")


def test_sending_by_the_keyboard_shows_that_it_is_under_way(new_page: NewPage, desk: Desk):
    _, page = answering(desk, new_page)
    page.route("**/decide", lambda route: None)  # never answered
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("button", name="Send and hand back")).to_have_attribute("aria-busy", "true")


def test_a_draft_that_cannot_be_kept_says_so_and_stays_on_the_page(new_page: NewPage, desk: Desk):
    _, page = answering(desk, new_page)
    page.route("**/draft", lambda route: route.fulfill(status=503, body="{}"))
    page.keyboard.type("all")
    expect(page.locator("#form-respond .kept-words")).to_contain_text("not kept")
    page.route("**/decide", lambda route: route.abort())
    page.get_by_role("button", name="Send and hand back").click()
    refusal = page.locator("#form-respond .act-error")
    expect(refusal).to_have_text("The server did not respond: this may not have arrived. What you wrote stays here.")
    expect(page.get_by_label("Your answer")).to_have_value("Dear all")
    page.unroute("**/draft")
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept", timeout=15_000)


def test_a_part_of_the_form_that_was_not_touched_is_not_sent(new_page: NewPage, desk: Desk):
    arguments = {"amount": 80.5, "note": "a\r\nb\u202ec ", "list": ["a, b"], "none": None}
    made = desk.escalate("exact", allowed=["edit"], action={"name": "refund", "arguments": arguments})
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.keyboard.press("e")
    expect(page.get_by_label("note", exact=True)).to_have_value("a⟨U+000D⟩\nb⟨U+202E⟩c ")
    page.get_by_label("amount").fill("60")
    with page.expect_request("**/decide") as sending:
        page.get_by_role("button", name="Approve with changes").click()
    names = re.findall(r"arguments%2F\w+", sending.value.post_data or "")
    assert names == ["arguments%2Famount"]
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    with viewer_transaction(desk.agent.viewer, read_only=True):
        given = answer_of(desk.agent.viewer, made.id)
    assert '"amount":60,"note":"a\\r\\nb\u202ec ","list":["a, b"],"none":null' in dump(given).decode()
