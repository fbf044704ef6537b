"""The desk in a browser: signing in, a case, an answer or a note that is being written, and drafts that are kept."""

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, Route, expect

from escalations.actions import claims
from escalations.models import Escalation
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import system_viewer
from tests.support.desk_world import Desk
from tests.support.factories import PASSWORD, Person

NewPage = Callable[..., Page]


def send_login(page: Page, username: str, password: str = PASSWORD) -> None:
    """Fill in the sign-in form, which the page shows, and send it."""
    page.get_by_label("User name").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def sign_in(page: Page, person: Person) -> Page:
    """Sign in by the form, and wait until the queue is live."""
    page.goto("/")
    send_login(page, person.username)
    live(page)
    return page


def sign_out_elsewhere(page: Page) -> Page:
    """Sign out in another tab of the same browser; the tab."""
    other: Page = page.context.new_page()
    other.goto("/")
    other.locator("details.menu summary").click()
    other.get_by_role("button", name="Sign out").click()
    return other


def live(page: Page) -> None:
    """Wait until the page's socket has caught up."""
    expect(page.locator("main[data-live=ready]")).to_be_attached()


def case(page: Page, escalation: Any) -> Page:
    """Open the case's page, and wait until it is live."""
    page.goto(f"/escalations/{escalation.id}/")
    live(page)
    return page


def held(desk: Desk) -> list[str]:
    """The escalations that sam has."""
    with viewer_transaction(system_viewer(desk.team.id), read_only=True):
        rows = Escalation.objects.filter(owner_id=desk.sam.membership.id, state__in=["claimed", "waiting"])
        return [str(row) for row in rows.values_list("id", flat=True)]


def answering(desk: Desk, new_page: NewPage, **more: Any) -> tuple[Escalation, Page]:
    """Sam's page with a claimed case, into whose answer a few words were typed; four others are free."""
    made = desk.escalate("mine", **{"allowed": ["respond"], **more})
    for _ in range(4):
        desk.escalate()
    claims.claim(desk.sam.viewer, escalation_id=made.id)
    page = case(sign_in(new_page(), desk.sam), made)
    page.get_by_role("button", name="Respond").click()
    page.keyboard.type("Dear ")
    return made, page


def writing(desk: Desk, new_page: NewPage) -> tuple[Escalation, Page]:
    """As `answering`, but the words stand in a note."""
    made, page = answering(desk, new_page)
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.keyboard.type("Dear ")
    return made, page


def words(page: Page, form: str = "respond") -> Any:
    """What a form says of its draft."""
    return page.locator(f"#form-{form} .kept-words")


def kept(page: Page, made: Any) -> dict[str, dict[str, str]]:
    """What the server has of the page's person on a case."""
    answer = page.request.get(f"/escalations/{made.id}/drafts/", headers={"Accept": "application/json"})
    return {draft["form"]: draft["fields"] for draft in answer.json()["drafts"]}


def keeps(page: Page, made: Any, form: str, fields: dict[str, str] | None) -> None:
    """Wait until the server has just this of a form; None: nothing."""
    for _ in range(100):
        if kept(page, made).get(form) == fields:
            return
        page.wait_for_timeout(100)
    raise AssertionError(kept(page, made))


def hold(page: Page, address: str, **more: Any) -> list[Route]:
    """From now on requests to this address wait here."""
    routes: list[Route] = []
    page.route(address, lambda route: routes.append(route), **more)  # noqa: PLW0108  # Playwright takes no built-in
    return routes


def first(page: Page, routes: list[Route]) -> Route:
    """The first that waits; it is awaited."""
    for _ in range(1_200):  # a send itself waits up to five seconds for what was kept
        if routes:
            return routes.pop(0)
        page.wait_for_timeout(25)
    raise AssertionError("nothing was asked")
