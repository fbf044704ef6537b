"""The takeover page in a real browser: its order, what comes live, what is kept while somebody types."""

import re

import pytest
from playwright.sync_api import Route, expect

from escalations.actions import answers, claims, notes
from memoryhub.core.actions import memberships
from memoryhub.core.models import AccessLog
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from memoryhub.memory.actions import leases, observations
from memoryhub.memory.schemas.observations import NewObservation
from memoryhub.memory.selectors.tasks import by_key
from tests.support.desk_pages import NewPage, case, live, sign_in
from tests.support.desk_world import ACTION, Desk
from tests.support.factories import make_person
from tests.support.web import Server


@pytest.mark.parametrize("width", [390, 1280])
def test_the_case_begins_with_what_is_asked_and_the_buttons(new_page: NewPage, desk: Desk, width: int):
    made = desk.escalate("order", allowed=["approve", "edit"], action=ACTION, recommendation="Do it.")
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(viewport={"width": width, "height": 800}), desk.sam), made)
    names = ["What will happen", "Why the agent stopped", "Time, and who is waiting", "What the agent recommends"]
    names += ["What was found", "Timeline"]
    shown = [page.locator("h1"), page.get_by_role("button", name="Approve")]
    shown += [page.get_by_role("heading", name=name, exact=True) for name in names]
    boxes = [place.bounding_box() for place in shown]
    assert boxes == sorted(boxes, key=lambda box: (box["y"], box["x"]))
    expect(shown[1]).to_be_in_viewport()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_long_words_leave_the_buttons_on_the_first_screen(new_page: NewPage, desk: Desk, width: int, height: int):
    page = sign_in(new_page(viewport={"width": width, "height": height}), desk.sam)
    for words in ("a parcel of boots ", "unbroken", "line\n", "荷物が", "x\u202e"):
        long = (words * 20_000)[:19_999] + "!"
        asked = {"question": long, "reason": long, "recommendation": long, "action": ACTION}
        made = desk.escalate(allowed=["approve", "edit", "respond", "reject"], **asked)
        claims.claim(desk.sam.viewer, escalation_id=made.id)
        page.goto(f"/escalations/{made.id}/")
        for name in ("Approve", "Edit", "Respond", "Reject", "Finish", "Note"):
            expect(page.get_by_role("button", name=name, exact=True)).to_be_in_viewport(ratio=1)
        # What will happen and what the agent thinks of it stand in different places.
        will, said = page.locator("#will").bounding_box(), page.locator(".recommended").bounding_box()
        assert will["y"] + will["height"] <= said["y"]
        rest = page.locator(".asked .fold")
        expect(rest.locator(".words")).to_be_hidden()
        rest.locator("summary").click()
        expect(rest.locator(".words")).to_be_visible()
        told = (page.locator("h1").text_content() or "") + (rest.locator(".words").text_content() or "")
        assert told.replace("U+202E", "\u202e").replace("\n", "") == long.replace("\n", "")


def test_what_comes_out_of_sight_is_said(new_page: NewPage, desk: Desk):
    made = desk.escalate("far")
    with viewer_transaction(desk.agent.viewer):
        task = by_key(desk.agent.viewer, "far")
        observations.log(desk.agent.viewer, item=NewObservation(content="line\n" * 60, task=task.key))
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


def test_what_was_typed_survives_reloads_updates_and_a_lost_claim(new_page: NewPage, desk: Desk):
    made = desk.escalate("draft", allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Respond").click()
    page.get_by_label("Your answer").fill("Half an answer")
    expect(page.locator("#form-respond .kept-words")).to_have_text("kept")
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
    expect(page.get_by_label("Your answer")).to_have_attribute("readonly", "")
    expect(page.get_by_label("Your answer")).to_be_focused()
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer and more")
    answers.decide(desk.lee.viewer, escalation_id=made.id, verdict="respond", message="Lee's answer.")
    expect(page.locator("#panel")).to_contain_text("Lee's answer.")
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer and more")
    expect(page.get_by_label("Your answer")).to_be_focused()
    page.reload()
    expect(page.locator("#kept")).to_contain_text("Half an answer and more")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("#kept")).to_be_hidden()


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
        items = [NewObservation(content=f"number {number};", task=task.key, tags=["t"]) for number in range(120)]
        observations.log_batch(desk.agent.viewer, items=items)
    page = case(sign_in(new_page(), desk.sam), made)
    items = page.locator("#since li[data-item]")
    expect(items).to_have_count(50)
    for loaded in (100, 120):
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        expect(items).to_have_count(loaded)
    page.evaluate("scrollTo(0, 0)")  # else the reload scrolls down again, and loads more, at some moment
    page.reload()
    live(page)
    expect(items).to_have_count(50)
    # The key, at the last item that is there, leads to the next that is loaded, not past it to the other part.
    press = "last => { last.focus(); last.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true})) }"
    items.last.evaluate(press)
    expect(items.nth(49)).to_be_focused()
    expect(items.nth(50)).to_be_attached()
    page.keyboard.press("j")
    expect(items.nth(50)).to_be_focused()
    page.locator("#since .tag").first.click()
    expect(page).to_have_url(re.compile("tag=t"))
    page.get_by_label("Search the timeline").fill("number 7;")
    expect(items).to_have_count(1)


def test_confidential_items_that_arrive_are_opened_by_ones_own_rights(new_page: NewPage, desk: Desk):
    made = desk.escalate("open")
    page = case(sign_in(new_page(), desk.lee), made)
    frames: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))))
    page.reload()
    live(page)
    viewer = desk.lee.viewer
    with viewer_transaction(viewer):
        new = NewObservation(content="The secret word.", task="open", sensitivity="confidential")
        secret = observations.log(viewer, item=new).id
    expect(page.locator("#since")).to_contain_text("The secret word.")
    assert any(str(secret) in frame for frame in frames)
    assert "secret word" not in str(frames)
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        assert AccessLog.objects.filter(row_id=secret, reader_id=viewer.membership).exists()


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


def test_what_is_answered_is_no_longer_to_come_and_the_task_tells_how_it_stands(new_page: NewPage, desk: Desk):
    made = desk.escalate("told", allowed=["reject"], action=ACTION)
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    expect(page.get_by_role("heading", name="What will happen")).to_be_visible()
    expect(page.locator("#task-status")).to_have_text("escalated")
    page.get_by_role("button", name="Reject").click()
    page.get_by_label("Why not").fill("The parcel was lost.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("heading", name="What the agent proposed")).to_be_visible()
    expect(page.get_by_role("heading", name="What will happen")).to_be_hidden()
    expect(page.locator("#task-status")).to_have_text("open")
    # What the agent does with it changes the task, too.
    agent = desk.agent.viewer
    with viewer_transaction(agent):
        task = by_key(agent, "told")
    lease = leases.claim(agent, task=task)
    expect(page.locator("#task-status")).to_have_text("in progress")
    leases.complete(agent, task=task, token=lease.token)
    expect(page.locator("#task-status")).to_have_text("done")


def test_a_claim_that_ends_speaks_of_words_only_where_there_are_some(new_page: NewPage, desk: Desk):
    made = desk.escalate(allowed=["respond"])
    page = sign_in(new_page(), desk.sam)
    for words in ("", "Half an answer"):
        claims.claim(desk.sam.viewer, escalation_id=made.id)
        case(page, made)
        page.get_by_role("button", name="Respond").click()
        page.keyboard.type(words)
        page.keyboard.press("Escape")
        claims.release(desk.lee.viewer, escalation_id=made.id)
        told = page.locator("#toasts").get_by_text("Your claim has ended.")
        kept = " What you wrote is kept here." if words else ""
        expect(told).to_have_text(f"Your claim has ended.{kept} Claim it again to continue.")


def test_a_case_that_may_no_longer_be_seen_goes_and_leaves_what_was_written(new_page: NewPage, desk: Desk):
    def see(clearance: int) -> None:
        rights = {"role": "support", "clearance": clearance, "compartments": [], "is_active": True}
        memberships.change(chief.viewer, member=desk.sam.membership, **rights)

    chief = make_person(desk.team, "admin", 2, is_staff=True)
    made = desk.escalate("withdrawn", allowed=["respond"], question="Who is the informant?")
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Respond").click()
    page.keyboard.type("Half an answer")
    see(0)
    expect(page.locator("#standing")).to_have_text("You no longer have access to this case.", timeout=15_000)
    for gone in ("Who is the informant?", "Title of withdrawn", "It is above my limit.", "escalated", "Release"):
        expect(page.get_by_text(gone).first).to_be_hidden()
    expect(page.get_by_label("Your answer")).to_have_value("Half an answer")
    expect(page.get_by_label("Your answer")).to_be_focused()
    page.keyboard.press("Control+Enter")
    refusal = page.locator("#form-respond .act-error")
    expect(refusal).to_contain_text("It cannot be sent now. What you wrote stays here")
    # Who has written nothing is led to the page that says so.
    see(1)
    made = desk.escalate()
    case(page, made)
    see(0)
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible(timeout=15_000)


def test_what_has_the_focus_tells_the_present_state_too(new_page: NewPage, desk: Desk):
    made = desk.escalate("focus", allowed=["respond"])
    page = case(sign_in(new_page(), desk.sam), made)
    page.locator("#claim-button").click()
    expect(page.locator("#standing")).to_contain_text("It is yours")
    expect(page.locator("#standing")).to_be_focused()
    claims.release(desk.lee.viewer, escalation_id=made.id)
    expect(page.locator("#standing")).to_have_text("Nobody has claimed it yet. Claim it to answer.")
    # A button that goes takes its name and the focus along: the next press does not do what came in its place.
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    answers.decide(desk.sam.viewer, escalation_id=made.id, verdict="respond", message="Yes.", hand_back=False)
    page.get_by_role("button", name="Hand back").focus()
    answers.hand_back(desk.lee.viewer, escalation_id=made.id)
    expect(page.get_by_role("button", name="Take the next")).to_be_visible()
    expect(page.get_by_role("button", name="Take the next")).not_to_be_focused()
    expect(page.get_by_role("button", name="Hand back")).to_have_count(0)


def test_an_answer_that_is_lost_on_the_way_is_asked_for_again(new_page: NewPage, desk: Desk):
    made = desk.escalate("lost", allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)

    def lose(route: Route) -> None:
        route.fetch()
        route.abort("connectionreset")

    for verb, times in (("note", 1), ("decide", 2)):
        page.route(f"**/{verb}", lose, times=times)
    page.keyboard.press("x")
    page.keyboard.type("Seen once.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("The note is on the timeline.")
    expect(page.locator("#since").get_by_text("Seen once.")).to_have_count(1)
    # Though it is given up, too: what comes live shows that it has arrived.
    page.keyboard.press("r")
    page.keyboard.type("Yes, do.")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#toasts")).to_contain_text("Your answer is with the agent.")
    page.reload()
    live(page)
    expect(page.locator("#panel")).to_contain_text("Yes, do.")
    expect(page.locator("#kept")).to_be_hidden()
