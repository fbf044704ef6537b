"""The desk in a real browser: what moves, what stays, what is kept, and whether everybody can use it."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from escalations.actions import answers, claims, notes
from memoryhub.core.transactions import viewer_transaction
from memoryhub.memory.actions import observations
from memoryhub.memory.actions.observations import NewObservation
from memoryhub.memory.selectors.tasks import by_key
from tests.browser.test_first_light import live, sign_in
from tests.conftest import Server
from tests.desk.desks import ACTION, Desk, make_desk
from tests.factories import make_agent, make_person

NewPage = Callable[..., Page]


@pytest.fixture
def desk() -> Desk:
    return make_desk()


def faults(page: Page) -> list[str]:
    """What axe finds, by WCAG 2.2 AA and good practice."""
    found = Axe().run(page).response["violations"]
    return [f"{fault['id']}: {fault['nodes'][0]['html'][:200]}" for fault in found]


def case(page: Page, escalation) -> Page:
    page.goto(f"/escalations/{escalation.id}/")
    live(page)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_it(new_page: NewPage, desk: Desk, scheme: str, width: int):
    made = desk.escalate(allowed=["approve", "edit", "reject"], action=ACTION, recommendation="Do it.", priority=3)
    desk.escalate(priority=2)
    page = new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.goto("/login/")
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


@pytest.mark.parametrize("width", [390, 1280])
def test_the_case_begins_with_what_is_asked_and_the_buttons(new_page: NewPage, desk: Desk, width: int):
    made = desk.escalate("order", allowed=["approve", "edit"], action=ACTION, recommendation="Do it.")
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(viewport={"width": width, "height": 800}), desk.sam), made)
    names = ["Why the agent stopped", "Time, and who waits", "What the agent recommends", "What was found", "Timeline"]
    shown = [page.locator("h1"), page.get_by_role("button", name="Approve")]
    shown += [page.get_by_role("heading", name=name, exact=True) for name in names]
    boxes = [place.bounding_box() for place in shown]
    assert boxes == sorted(boxes, key=lambda box: (box["y"], box["x"]))
    expect(shown[1]).to_be_in_viewport()


def test_rows_do_not_move_under_the_pointer(new_page: NewPage, desk: Desk):
    first = desk.escalate("first")
    page = sign_in(new_page(), desk.sam)
    page.locator(f"#e-{first.id}").hover()
    before = page.locator(f"#e-{first.id}").bounding_box()
    urgent = desk.escalate("urgent", priority=3)
    expect(page.get_by_role("button", name="1 new: show")).to_be_visible()
    assert page.locator("#rows tr").count() == 1
    assert page.locator(f"#e-{first.id}").bounding_box() == before
    page.mouse.move(5, 5)
    expect(page.locator("#rows tr").first).to_have_id(f"e-{urgent.id}")
    expect(page.get_by_role("button", name="new: show")).to_be_hidden()
    # One that leaves the list stays, greyed, while somebody points at the table.
    page.locator(f"#e-{urgent.id}").hover()
    claims.claim(desk.lee.viewer, escalation_id=first.id)
    answers.finish(desk.lee.viewer, escalation_id=first.id, done="Done.")
    expect(page.locator(f"#e-{first.id}")).to_have_class(re.compile("is-gone"))
    page.mouse.move(5, 5)
    expect(page.locator(f"#e-{first.id}")).to_have_count(0)


def test_a_notice_does_not_push_the_list_away_either(new_page: NewPage, desk: Desk):
    made = desk.escalate()
    page = sign_in(new_page(), desk.sam)
    row = page.locator(f"#e-{made.id}")
    row.hover()
    before = row.bounding_box()["y"]
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    expect(row).to_contain_text("lee")
    assert row.bounding_box()["y"] == before
    page.mouse.move(5, 5)
    expect(page.get_by_text("in other people's hands")).to_be_visible()


def test_what_comes_out_of_sight_is_said(new_page: NewPage, desk: Desk):
    made = desk.escalate("far")
    with viewer_transaction(desk.agent.viewer):
        task = by_key(desk.agent.viewer, "far")
        observations.log(desk.agent.viewer, item=NewObservation(content="line\n" * 60, task=task))
    page = case(sign_in(new_page(viewport={"width": 1280, "height": 400}), desk.sam), made)
    notes.note(desk.sam.viewer, escalation_id=made.id, text="My own.")
    expect(page.locator("#since")).to_contain_text("My own.")
    notes.note(desk.lee.viewer, escalation_id=made.id, text="It is about the tent.")
    expect(page.locator("#announcer")).to_have_text("lee noted")
    page.get_by_role("button", name="1 new on the timeline: show").click()
    expect(page.get_by_text("It is about the tent.")).to_be_in_viewport()
    expect(page.get_by_role("button", name="on the timeline: show")).to_be_hidden()
    notes.note(desk.lee.viewer, escalation_id=made.id, text="And the stove.")
    expect(page.get_by_text("And the stove.")).to_be_in_viewport()
    expect(page.get_by_role("button", name="on the timeline: show")).to_be_hidden()


def test_what_arrives_is_announced_and_filtered(new_page: NewPage, desk: Desk):
    page = sign_in(new_page(), desk.sam)
    page.get_by_label("Priority").select_option("urgent")
    expect(page).to_have_url(re.compile("priority=urgent"))
    expect(page.get_by_text("Nothing fits these filters")).to_be_visible()
    quiet, loud = desk.escalate("quiet", priority=1), desk.escalate("loud", priority=3)
    expect(page.locator(f"#e-{loud.id}")).to_be_visible()
    expect(page.locator(f"#e-{quiet.id}")).to_have_count(0)
    expect(page.locator("#announcer")).to_contain_text("New, urgent: May I do loud?, from returns")
    page.go_back()
    live(page)
    expect(page.locator("#rows tr")).to_have_count(2)


def test_the_folded_filters_say_that_they_are_set_and_cover_nothing(new_page: NewPage, desk: Desk):
    made = desk.escalate(reason_code="safety")
    desk.escalate()
    page = sign_in(new_page(), desk.sam)
    more = page.locator(".more-filters summary")
    more.click()
    page.get_by_label("Reason", exact=True).select_option("safety")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(more).to_have_text("More: 1")
    page.get_by_label("Reason", exact=True).focus()
    page.keyboard.press("Escape")
    expect(page.locator(".more-sheet")).to_be_hidden()
    expect(more).to_be_focused()
    more.click()
    page.get_by_role("heading", name="Queue").click()
    expect(page.locator(".more-sheet")).to_be_hidden()
    page.reload()
    live(page)
    expect(more).to_have_text("More: 1")
    expect(page.locator(".more-sheet")).to_be_hidden()
    expect(page.locator(f"#e-{made.id}")).to_be_visible()
    page.set_viewport_size({"width": 360, "height": 740})
    more.click()
    sheet = page.locator(".more-sheet").bounding_box()
    assert sheet["x"] >= 0
    assert 300 < sheet["width"] <= 360


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


def test_one_press_takes_one(new_page: NewPage, desk: Desk):
    made = [desk.escalate(priority=priority) for priority in (3, 2, 1)]
    page = sign_in(new_page(), desk.sam)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    page.keyboard.press("n")
    expect(page).to_have_url(re.compile(str(made[0].id)))
    live(page)
    assert [url.partition("/escalations/")[2] for url in posts] == ["next"]
    page.keyboard.down("n")
    page.keyboard.down("n")  # held down, as a keyboard repeats it
    expect(page).to_have_url(re.compile(str(made[1].id)))
    live(page)
    page.goto("/")
    expect(page.locator("#rows tr.is-mine")).to_have_count(2)


def test_what_was_typed_survives_reloads_updates_and_a_lost_claim(new_page: NewPage, desk: Desk):
    made = desk.escalate("draft", allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Respond").click()
    page.get_by_label("Your answer").fill("Half an answer")
    page.reload()
    live(page)
    page.get_by_role("button", name="Respond").click()
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer")
    page.get_by_label("Your answer").press_sequentially(" and more")
    notes.note(desk.lee.viewer, escalation_id=made.id, text="A note meanwhile.")
    expect(page.locator("#since")).to_contain_text("A note meanwhile.")
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer and more")
    claims.release(desk.lee.viewer, escalation_id=made.id)
    claims.claim(desk.lee.viewer, escalation_id=made.id)
    expect(page.locator("#standing")).to_contain_text("lee has had it")
    expect(page.get_by_label("Your answer")).to_be_disabled()
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer and more")
    answers.decide(desk.lee.viewer, escalation_id=made.id, verdict="respond", message="Lee's answer.")
    expect(page.locator("#kept")).to_contain_text("Half an answer and more")
    expect(page.locator("#panel")).to_contain_text("Lee's answer.")


def test_a_refusal_stays_beside_the_words(new_page: NewPage, desk: Desk):
    made = desk.escalate("schema", allowed=["edit"], action=ACTION)
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_label("amount").fill("500")
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.locator("#form-edit .act-error")).to_contain_text("100")
    expect(page.get_by_label("amount")).to_have_value("500")
    expect(page.get_by_label("amount")).to_be_focused()
    expect(page.get_by_label("amount")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".field:has([name='arguments/amount']) .act-error")).to_be_in_viewport()
    # What happens meanwhile neither takes the words away nor folds what was unfolded.
    page.locator("#form-edit summary").click()
    with page.expect_response("**/panel/"):
        notes.note(desk.lee.viewer, escalation_id=made.id, text="A note meanwhile.")
    expect(page.locator("#since")).to_contain_text("A note meanwhile.")
    page.wait_for_timeout(200)
    expect(page.locator("#form-edit .act-error")).to_contain_text("100")
    expect(page.get_by_label("What I did")).to_be_visible()
    page.get_by_label("amount").fill("90")
    page.get_by_role("button", name="Approve with changes").click()
    expect(page.locator("#panel")).to_have_attribute("data-state", "handed_back")


def test_trying_again_is_by_the_filters_that_one_sees(new_page: NewPage, desk: Desk):
    urgent, normal = desk.escalate("urgent", priority=3), desk.escalate("normal")
    page = sign_in(new_page(), desk.sam)
    expect(page.locator(f"#e-{normal.id}")).to_be_visible()
    page.route("**/?*", lambda route: route.abort())
    page.get_by_label("Priority").select_option("urgent")
    expect(page.get_by_role("alert")).to_contain_text("It could not be loaded")
    page.unroute("**/?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(f"#e-{normal.id}")).to_have_count(0)
    expect(page.locator(f"#e-{urgent.id}")).to_be_visible()
    expect(page.get_by_text("It could not be loaded")).to_be_hidden()


def test_destructive_verbs_ask_first(new_page: NewPage, desk: Desk):
    made = desk.escalate()
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Release").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="No, go back")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Release")).to_be_focused()
    expect(page.locator("#panel")).to_have_attribute("data-state", "claimed")
    page.get_by_role("button", name="Release").click()
    page.get_by_role("button", name="Yes").click()
    expect(page).to_have_url(re.compile("/$"))
    expect(page.locator(f"#e-{made.id}")).to_have_attribute("data-state", "queued")


def test_the_timeline_loads_as_one_scrolls(new_page: NewPage, desk: Desk):
    made = desk.escalate("scroll")
    with viewer_transaction(desk.agent.viewer):
        task = by_key(desk.agent.viewer, "scroll")
        items = [NewObservation(content=f"number {number};", task=task, tags=["t"]) for number in range(120)]
        observations.log_batch(desk.agent.viewer, items=items)
    page = case(sign_in(new_page(), desk.sam), made)
    items = page.locator("#since li[data-item]")
    expect(items).to_have_count(50)
    for _ in range(6):
        page.locator("#since li").last.scroll_into_view_if_needed()
        page.wait_for_timeout(200)
    expect(items).to_have_count(120)
    page.reload()
    live(page)
    # The key, at the last item that is there, leads to the next that is loaded, not past it to the other part.
    press = "last => { last.focus(); last.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true})) }"
    items.last.evaluate(press)
    expect(items.nth(49)).to_be_focused()
    expect(items.nth(50)).to_be_attached()
    page.keyboard.press("j")
    expect(items.nth(50)).to_be_focused()
    page.locator("#since .tag").first.click()
    expect(page).to_have_url(re.compile("tag=t"))
    page.get_by_label("Search inside the timeline").fill("number 7;")
    expect(items).to_have_count(1)


def test_confidential_items_that_arrive_are_opened_on_demand(new_page: NewPage, desk: Desk):
    made = desk.escalate("open")
    page = case(sign_in(new_page(), desk.lee), made)
    viewer = desk.lee.viewer
    with viewer_transaction(viewer):
        new = NewObservation(content="The secret word.", task=by_key(viewer, "open"), sensitivity=2)
        observations.log(viewer, item=new)
    button = page.get_by_role("button", name="Confidential: open to read")
    expect(button).to_be_visible()
    assert "The secret word." not in page.content()
    button.click()
    expect(page.locator("#since")).to_contain_text("The secret word.")


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


def test_a_claim_that_ends_soon_is_said_and_kept_with_one_key(new_page: NewPage, desk: Desk, owner_sql, server: Server):
    made = desk.escalate()
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    owner_sql.execute(
        "update escalation set claim_expires_at = now() + interval '90 seconds' where id = %s", [str(made.id)]
    )
    page = case(sign_in(new_page(), desk.sam), made)
    expect(page.get_by_text("Your claim ends in")).to_be_visible()
    page.keyboard.press("h")
    expect(page.get_by_text("Your claim ends in")).to_be_hidden()
    expect(page.locator("#standing")).to_contain_text("29 min")
