"""The queue in a real browser: what arrives, what moves and what stays."""

import re

from playwright.sync_api import expect

from escalations.actions import answers, claims
from memoryhub.core.actions import lives
from memoryhub.core.ledger.events import read_ledger
from memoryhub.core.viewers import system_viewer
from tests.support.desk_pages import NewPage, live, sign_in
from tests.support.desk_world import Desk


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
    expect(page.get_by_text("Other people have claimed all of these")).to_be_visible()


def test_what_arrives_is_announced_and_filtered(new_page: NewPage, desk: Desk):
    page = sign_in(new_page(), desk.sam)
    page.get_by_label("Priority").select_option("urgent")
    expect(page).to_have_url(re.compile("priority=urgent"))
    expect(page.get_by_text("No escalation matches these filters")).to_be_visible()
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


# A page that has heard of all events up to a number.
HEARD = """
new MutationObserver((_, watching) => {
  const main = document.getElementById("main");
  if (!main) return;
  watching.disconnect();
  main.dataset.seq = %d;
}).observe(document, { childList: true, subtree: true });
"""


def test_after_a_restore_the_page_says_so(new_page: NewPage, desk: Desk):
    made = desk.escalate(allowed=["respond"])
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = sign_in(new_page(), desk.sam)
    page.add_init_script(HEARD % (read_ledger(desk.sam.viewer).head + 5))
    page.goto("/")
    expect(page.get_by_text("This page was away for too long: the list was reloaded.")).to_be_visible()
    lives.begin(system_viewer(desk.team.id))
    page.goto("/")
    expect(page.get_by_text("The server was restored to an earlier state: the list was reloaded.")).to_be_visible()
    live(page)
    expect(page.locator(f"#e-{made.id}")).to_be_visible()
