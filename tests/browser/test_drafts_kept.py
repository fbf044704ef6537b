"""No word is lost: not while an answer is being sent, nor before what was kept is loaded, nor where a page ends."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from escalations.actions import claims
from escalations.selectors.escalations import answer_of
from memoryhub.core.transactions import viewer_transaction
from memoryhub.interface.http.json import dump
from tests.support.desk_pages import (
    NewPage,
    answering,
    case,
    first,
    held,
    hold,
    keeps,
    kept,
    live,
    sign_in,
    sign_out_elsewhere,
    words,
    writing,
)
from tests.support.desk_world import ACTION, Desk
from tests.support.factories import PASSWORD


def name_of(page: Page, label: str) -> str:
    return page.get_by_label(label, exact=True).get_attribute("name") or ""


def forget_drafts(owner_sql: Any, made: Any) -> None:
    owner_sql.execute("delete from escalation_draft where escalation_id = %s", [str(made.id)])


@pytest.mark.parametrize("verb", ["note", "decide"])
def test_what_is_typed_while_the_rest_is_being_sent_stays_and_is_no_command(new_page: NewPage, desk: Desk, verb: str):
    made, page = (writing if verb == "note" else answering)(desk, new_page)
    form = "note" if verb == "note" else "respond"
    field = page.locator(f"#form-{form} textarea").first
    expect(words(page, form)).to_have_text("kept")
    sending = hold(page, f"**/{verb}")
    page.keyboard.press("Control+Enter")
    under_way = first(page, sending)
    page.keyboard.type("all")
    under_way.continue_()
    expect(page.locator("#toasts")).to_contain_text("is on the timeline" if form == "note" else "is with the agent")
    page.keyboard.type(" n can c")
    page.wait_for_timeout(300)
    expect(field).to_be_focused()
    assert field.input_value().startswith("Dear all")
    assert held(desk) == ([str(made.id)] if form == "note" else [])
    keeps(page, made, form, {"text" if form == "note" else "message": field.input_value()})
    page.reload()
    live(page)
    if form == "respond":
        expect(page.locator("#kept pre")).to_contain_text("Dear all")
    else:
        expect(field).to_have_value("Dear all n can c")
        expect(page.locator("#since").get_by_text("Dear", exact=True)).to_have_count(1)


def test_what_was_sent_does_not_come_back_as_unsent(new_page: NewPage, desk: Desk):
    made, page = writing(desk, new_page)
    before = held(desk)
    expect(words(page, "note")).to_have_text("kept")
    sending, keeping = hold(page, "**/note"), hold(page, "**/draft")
    page.keyboard.press("Control+Enter")
    under_way = first(page, sending)
    page.keyboard.type("!")
    late = first(page, keeping)
    page.keyboard.press("Backspace")
    under_way.continue_()
    expect(page.locator("#toasts")).to_contain_text("The note is on the timeline.")
    page.keyboard.press("n")  # of the word that was begun
    page.unroute("**/draft")
    with page.expect_response("**/draft", timeout=8_000):
        late.continue_()
    keeps(page, made, "note", None)
    assert held(desk) == before


def test_what_is_typed_into_another_form_while_one_is_sent_stays_open(new_page: NewPage, desk: Desk):
    _, page = writing(desk, new_page)
    before = held(desk)
    expect(words(page, "note")).to_have_text("kept")
    sending = hold(page, "**/note")
    page.keyboard.press("Control+Enter")
    under_way = first(page, sending)
    page.get_by_role("button", name="Respond").click()
    page.keyboard.type("I")
    under_way.continue_()
    expect(page.locator("#toasts")).to_contain_text("The note is on the timeline.")
    page.keyboard.type(" can now")
    expect(page.get_by_label("Your answer")).to_have_value("Dear I can now")
    assert held(desk) == before


@pytest.mark.parametrize("how", ["refused", "slow"])
def test_what_was_kept_is_not_replaced_before_it_is_loaded(new_page: NewPage, desk: Desk, how: str):
    made, page = answering(desk, new_page)
    expect(words(page)).to_have_text("kept")
    loading = hold(page, "**/drafts/", times=1)
    page.reload()
    live(page)
    if how == "refused":
        first(page, loading).fulfill(status=503, body="{}")
        expect(page.locator("#toasts")).to_contain_text("Your drafts of this case could not be loaded.")
    page.get_by_role("button", name="Respond").click()
    page.keyboard.type("Hello")
    expect(words(page)).to_contain_text("not kept yet")
    page.wait_for_timeout(700)
    assert kept(page, made) == {"respond": {"message": "Dear "}}
    for route in loading:
        route.continue_()
    field, rest = page.get_by_label("Your answer"), page.locator("#kept pre")
    expect(rest).to_have_text("Dear ")
    expect(field).to_have_value("Hello")
    expect(field).to_be_focused()
    expect(words(page)).to_have_text("kept")
    # Both are there again, until one is thrown away.
    page.reload()
    expect(field).to_have_value("Hello")
    expect(rest).to_have_text("Dear ")
    page.keyboard.press("End")
    field.press_sequentially("!")
    expect(words(page)).to_have_text("kept")
    page.get_by_role("button", name="Discard").click()
    keeps(page, made, "respond", {"message": "Hello!"})


def test_a_claim_that_runs_out_is_free_again_on_every_page_though_nobody_says_so(
    new_page: NewPage, desk: Desk, owner_sql: Any
):
    made = desk.escalate(allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    sams, lees = (sign_in(new_page(), person) for person in (desk.sam, desk.lee))
    soon = "update escalation set claim_expires_at = now() + interval '4 seconds' where id = %s"
    owner_sql.execute(soon, [str(made.id)])
    case(sams, made)
    case(lees, made)
    expect(lees.locator("#standing")).to_contain_text("sam has had it")
    for page in (lees, sams):
        expect(page.locator("#claim-button")).to_be_visible(timeout=10_000)
    sams.keyboard.press("c")
    expect(sams.locator("#standing")).to_contain_text("It is yours for 29 min")


@pytest.mark.parametrize("how", ["keep", "send"])
def test_who_is_told_to_claim_it_again_can(new_page: NewPage, desk: Desk, owner_sql: Any, how: str):
    made, page = answering(desk, new_page)
    over = "update escalation set claim_expires_at = now() - interval '1 second' where id = %s"
    owner_sql.execute(over, [str(made.id)])
    if how == "send":
        page.keyboard.press("Control+Enter")
        expect(page.locator("#form-respond .act-error")).to_contain_text("laim it again")
        page.keyboard.press("Escape")
    else:
        page.keyboard.press("Escape")
        page.keyboard.press("h")
        expect(page.locator("#not-kept")).to_contain_text("laim it again")
    expect(page.locator("#claim-button")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator("#standing")).to_contain_text("It is yours")
    expect(page.locator("#not-kept")).to_be_hidden()
    expect(page.get_by_label("Your answer")).to_have_value("Dear ")


@pytest.mark.parametrize("how", ["resync", "session"])
def test_a_page_goes_on_with_its_words_after_the_server_went_back(
    new_page: NewPage, desk: Desk, owner_sql: Any, how: str
):
    sockets: list[Any] = []

    def listen(socket: Any) -> None:
        socket.connect_to_server()
        sockets.append(socket)

    made = desk.escalate(allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = new_page()
    page.route_web_socket("**/queue/", listen)
    case(sign_in(page, desk.sam), made)
    page.keyboard.press("r")
    page.keyboard.type("Dear all")
    expect(words(page)).to_have_text("kept")
    page.evaluate("document.getElementById('panel').dataset.version = 99")
    if how == "resync":
        forget_drafts(owner_sql, made)
        sockets[-1].send('{"type": "resync", "floor": 0, "life": 1}')
        expect(page.locator("#toasts")).to_contain_text("The server was restored to an earlier state")
    else:
        other = sign_out_elsewhere(page)
        expect(page.locator("#live")).to_contain_text("signed out")
        forget_drafts(owner_sql, made)
        sign_in(other, desk.sam)
        live(page)
    expect(page.locator("#panel")).not_to_have_attribute("data-version", "99")
    expect(page.get_by_label("Your answer")).to_be_focused()
    keeps(page, made, "respond", {"message": "Dear all"})
    # What changes from now on is seen.
    claims.release(desk.lee.viewer, escalation_id=made.id)
    expect(page.locator("#claim-button")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Your answer")).to_have_value("Dear all")


def test_enter_in_an_input_of_an_answer_sends_nothing(new_page: NewPage, desk: Desk):
    made = desk.escalate(allowed=["edit"], action=ACTION)
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.evaluate("window.sent = []; addEventListener('submit', (event) => sent.push(event.target.id), true)")
    page.keyboard.press("e")
    amount = page.get_by_label("amount")
    amount.fill("60")
    amount.press("Enter")
    amount.press("Shift+Enter")
    assert page.evaluate("sent") == []
    expect(amount).to_be_focused()
    # In a text of several lines it is a new line.
    page.locator("#message-edit").press("Enter")
    expect(page.locator("#message-edit")).to_have_value("\n")
    amount.press("Control+Enter")
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    assert page.evaluate("sent") == ["form-edit"]
    # What looks for something keeps it, and so does signing in.
    page.evaluate("addEventListener('keydown', (event) => sent.push(event.defaultPrevented))")
    page.get_by_label("Search the timeline").press("Enter")
    assert page.evaluate("sent") == ["form-edit", False]
    page.context.clear_cookies()
    page.goto("/login/")
    page.get_by_label("User name").fill(desk.sam.username)
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    live(page)
    page.locator("#search").press_sequentially("order")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("q=order"))


def test_keys_of_an_input_method_leave_no_field_and_send_nothing(new_page: NewPage, desk: Desk):
    _, page = answering(desk, new_page)
    before = held(desk)
    field = page.get_by_label("Your answer")
    page.context.new_cdp_session(page).send(
        "Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1}
    )
    for key in ("Escape", "Control+Enter"):
        page.keyboard.press(key)
    page.keyboard.type("n")
    expect(field).to_be_focused()
    assert "n" in field.input_value()
    # The Enter that ends a composition comes after it in some browsers.
    late = "new KeyboardEvent('keydown', {key: 'Enter', ctrlKey: true, keyCode: 229, bubbles: true, cancelable: true})"
    assert field.evaluate(f"field => field.dispatchEvent({late})"), "it was taken"
    page.wait_for_timeout(200)
    assert held(desk) == before


def test_the_last_words_are_kept_though_a_saving_is_under_way_as_the_page_ends(
    new_page: NewPage, desk: Desk, owner_sql: Any
):
    made, page = answering(desk, new_page)
    expect(words(page)).to_have_text("kept")
    other = page.context.new_page()
    with owner_sql.transaction():
        owner_sql.execute("select from escalation_draft where escalation_id = %s for update", [str(made.id)])
        with page.expect_request("**/draft"):
            page.keyboard.type("one")
        page.keyboard.type(" two")
        page.close(run_before_unload=True)
    keeps(other, made, "respond", {"message": "Dear one two"})


def test_what_was_sent_while_signed_out_is_kept_after_signing_in(new_page: NewPage, desk: Desk):
    made, page = answering(desk, new_page)
    expect(words(page)).to_have_text("kept")
    other = sign_out_elsewhere(page)
    expect(page.locator("#live")).to_contain_text("signed out")
    page.keyboard.type("all")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#form-respond .act-error")).to_contain_text("You are signed out.")
    sign_in(other, desk.sam)
    keeps(page, made, "respond", {"message": "Dear all"})


def test_an_argument_that_is_loaded_on_request_is_there_again_and_sent(new_page: NewPage, desk: Desk):
    arguments = {f"name {number}": number for number in range(70)} | {"long": "x" * 20_001}
    made = desk.escalate(allowed=["edit"], action={"name": "refund", "arguments": arguments})
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.keyboard.press("e")
    page.get_by_role("button", name="Show 11 more arguments").click()
    page.get_by_role("button", name="20001 characters: open to change").click()
    changed = {"name 65": "650", "long": "short"}
    for label, text in changed.items():
        page.get_by_label(label, exact=True).fill(text)
    keeps(page, made, "edit", {name_of(page, label): text for label, text in changed.items()})
    page.reload()
    live(page)
    for label, text in changed.items():
        expect(page.get_by_label(label, exact=True)).to_have_value(text)
    expect(page.locator("#kept")).to_be_hidden()
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    with viewer_transaction(desk.agent.viewer, read_only=True):
        given = dump(answer_of(desk.agent.viewer, made.id)).decode()
    assert '"name 65":650' in given
    assert '"long":"short"' in given


def test_an_argument_that_cannot_be_loaded_is_shown_and_stays_kept(new_page: NewPage, desk: Desk):
    arguments = {f"name {number}": number for number in range(70)}
    made = desk.escalate(allowed=["edit"], action={"name": "refund", "arguments": arguments})
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.keyboard.press("e")
    page.get_by_role("button", name="Show 10 more arguments").click()
    page.get_by_label("name 65", exact=True).fill("650")
    before = {name_of(page, "name 65"): "650"}
    keeps(page, made, "edit", before)
    page.route("**/arguments/**", lambda route: route.abort())
    page.reload()
    live(page)
    expect(page.locator("#kept pre")).to_contain_text(": 650")
    page.get_by_label("name 1", exact=True).fill("10")
    keeps(page, made, "edit", before | {name_of(page, "name 1"): "10"})
