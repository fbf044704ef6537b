"""What tests of the desk's pages share."""

from collections.abc import Callable

from playwright.sync_api import Page

from tests.browser.test_first_light import live

NewPage = Callable[..., Page]


def case(page: Page, escalation) -> Page:
    page.goto(f"/escalations/{escalation.id}/")
    live(page)
    return page
