"""The whole desk in a real browser: whether everybody can use it, by keyboard, on any screen, after a break."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from escalations.actions import claims, notes
from tests.support.desk_pages import NewPage, case, live, sign_in
from tests.support.desk_world import ACTION, Desk
from tests.support.factories import make_agent, make_person


def faults(page: Page) -> list[str]:
    """What axe finds, by WCAG 2.2 AA and good practice."""
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {fault['nodes'][0]['html'][:200]}" for fault in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_it(new_page: NewPage, desk: Desk, scheme: str, width: int):
    made = desk.escalate(allowed=["approve", "edit", "reject"], action=ACTION, recommendation="Do it.", priority=3)
    desk.escalate(priority=2)
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto("/login/")
    assert faults(page) == []
    page.get_by_label("User name").fill("nobody")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert faults(page) == []
    sign_in(page, desk.sam)
    assert faults(page) == []
    page.keyboard.press("?")
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.goto("/?q=nothing")
    assert faults(page) == []
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    case(page, made)
    for key in ("e", "a", "x"):
        page.keyboard.press(key)
        expect(page.locator("form.act.is-open")).to_have_count(1)
        assert faults(page) == []
        page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelector('h1').outerHTML = '<img src=x>'")
    assert faults(page) != []  # the control: axe does find faults here


@pytest.mark.parametrize("width", [360, 1280])
def test_long_words_push_nothing_out_of_the_screen(new_page: NewPage, desk: Desk, width: int):
    long = "unbroken" * 12
    agent = make_agent(desk.team, 2, ["finance", "pii"], name=long)
    action = {"name": long, "arguments": {long: long * 3, "to": {long: [{long: long}]}}}
    made = desk.escalate(
        long * 2, agent=agent, question=long * 3, reason=long * 3, priority=3, allowed=["edit"], action=action
    )
    desk.escalate("sealed", agent=agent, sensitivity=2, compartments=["finance", "pii"])
    person = make_person(desk.team, "lead", 2, ["finance", "pii"], name=f"p-{long}")
    claims.claim(person.viewer, escalation_id=made.id)
    notes.note(person.viewer, escalation_id=made.id, text=long * 5)
    page = sign_in(new_page(viewport={"width": width, "height": 740}), person)
    for path in ("/", f"/escalations/{made.id}/"):
        page.goto(path)
        live(page)
        page.keyboard.press("e")
        page.evaluate("document.querySelector('.live-words').textContent = 'stale since 07:15 AM'")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("#live").bounding_box()["width"] > 100
    page.goto("/")
    asked = page.locator(f"#e-{made.id} .need").bounding_box()["width"]
    assert asked > width * 0.3
    sealed = page.locator("tr", has_text="Confidential: open to read")
    expect(sealed.locator("[data-name=Sensitivity]")).to_have_text("confidential finance, pii")


def test_the_keyboard_is_enough(new_page: NewPage, desk: Desk):
    first, second = desk.escalate("first", priority=2), desk.escalate("second", allowed=["respond", "reject"])
    page = sign_in(new_page(), desk.sam)
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator(f"#e-{second.id}")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(str(second.id)))
    live(page)
    page.go_back()
    live(page)
    page.keyboard.press("j")
    expect(page.locator(f"#e-{second.id}")).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator(f"#e-{first.id}")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(str(second.id)))
    live(page)
    page.keyboard.press("c")
    expect(page.locator("#panel")).to_have_attribute("data-state", "claimed")
    page.keyboard.press("r")
    page.keyboard.type("cannot be seen as shortcuts: n x ?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")
    expect(page.locator("#since")).to_contain_text("cannot be seen as shortcuts: n x ?")
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile(str(first.id)))
    expect(page.get_by_text("It is yours for")).to_be_visible()


def test_the_focus_is_never_lost(new_page: NewPage, desk: Desk):
    made, other = desk.escalate("first", priority=2, allowed=["respond"]), desk.escalate("second")
    page = case(sign_in(new_page(), desk.sam), made)
    page.locator("#claim-button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#standing")).to_contain_text("It is yours for")
    expect(page.locator("#standing")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Respond")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your answer")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.locator("form.act.is-open")).to_have_count(0)
    expect(page.get_by_role("button", name="Respond")).to_be_focused()
    page.keyboard.press("r")
    page.keyboard.type("Yes.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#standing")).to_contain_text("Handed back")
    expect(page.locator("#standing")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Take the next")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(str(other.id)))


@pytest.mark.parametrize("script", ["typing", "live"])
def test_a_page_that_lost_a_script_says_so(new_page: NewPage, desk: Desk, script: str):
    page = sign_in(new_page(), desk.sam)
    page.route(f"**/static/{script}*.js", lambda route: route.abort(), times=1)
    page.reload()
    expect(page.get_by_role("alert").first).to_contain_text("This page did not load completely")
    page.get_by_role("link", name="Reload").click()
    live(page)
    expect(page.get_by_role("link", name="Reload")).to_have_count(0)


def test_after_a_break_the_page_catches_up_by_itself(new_page: NewPage, desk: Desk):
    page = sign_in(new_page(), desk.sam)
    page.context.set_offline(True)
    expect(page.locator("#live")).to_have_text(re.compile("reconnecting|stale"))
    page.evaluate("dispatchEvent(new Event('pagehide'))")  # what the browser does with the socket
    made = desk.escalate()
    expect(page.locator(f"#e-{made.id}")).to_have_count(0)
    page.context.set_offline(False)
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator(f"#e-{made.id}")).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
