"""The API's page: drawn under the strict policy (new_page fails a page that it stops), in both themes, on a phone."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_an_operation_and_a_problem_are_found(new_page: Callable[..., Page], width: int, scheme: str) -> None:
    page = new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto("/api/v1/docs#lease_held")
    expect(page.locator("#lease_held")).to_contain_text("Somebody holds the task's lease")
    claim = page.locator("#operations-tasks-task_claim")
    claim.locator(".opblock-summary-control").click()
    expect(claim.locator(".opblock-body")).to_contain_text("Of concurrent claims one wins")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = "dark-mode" in (page.locator("html").get_attribute("class") or "")
    assert dark == (scheme == "dark")
