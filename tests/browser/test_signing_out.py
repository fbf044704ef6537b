"""Signing out leaves nothing of a person in the browser; a first password is changed in it."""

from playwright.sync_api import Page

from memoryhub.core.actions import people
from tests.support.desk_pages import send_login
from tests.support.factories import PASSWORD, installation, join, make_person, make_team, unique

STORED = "[sessionStorage.length, localStorage.length]"


def test_what_pages_kept_is_gone_after_signing_out_and_the_next_person_finds_nothing(page: Page) -> None:
    person = make_person(make_team())
    page.goto("/login/")
    send_login(page, person.username)
    page.wait_for_selector("#live[data-state=live]")
    page.evaluate("sessionStorage.setItem('draft', 'private words'); localStorage.setItem('draft', 'private words')")
    assert page.evaluate(STORED) != [0, 0]
    page.click(".menu > summary")
    page.click("text=Sign out")
    page.wait_for_url("**/login/")
    page.wait_for_function(f"{STORED}.join() === '0,0'")
    page.go_back()
    page.wait_for_url("**/login/**")


def test_a_first_password_is_changed_before_anything_else(page: Page) -> None:
    actor = people.add(installation(), username=unique("new"), password=PASSWORD)
    join(make_team(), actor)
    page.goto("/login/")
    send_login(page, actor.username)
    page.wait_for_url("**/account/password/**")
    page.goto("/")
    page.wait_for_url("**/account/password/**")
    page.fill("#old", PASSWORD)
    page.fill("#new", "a passphrase of one's own")
    page.fill("#again", "a passphrase of one's own")
    page.click("text=Change password")
    page.wait_for_selector("text=Your password is changed")
    assert page.url.endswith("/")
