"""Guessing passwords: delays by name, by address and by both; told before hashing; no use to find out who exists."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
import pytest
from django.contrib.auth.hashers import MD5PasswordHasher, make_password
from django.test import Client

from memoryhub.core.models import SignInDelay
from memoryhub.core.tasks import prune
from tests.support.clients import new_client
from tests.support.factories import PASSWORD, Person, make_person, make_team, unique
from tests.support.web import Server, web

HTML = {"Accept": "text/html,application/xhtml+xml"}
Owner = psycopg.Connection[Any]
SHIFT = "update signin_delay set free_at = free_at"
# One moment for all rows: a machine that stalls between two statements would eat the delay of one column.
PASSED = "from (select clock_timestamp() - %s as time) passed"


@pytest.fixture
def person(quick_hashes: None) -> Person:
    made = make_person(make_team())
    made.actor.password = make_password(PASSWORD)
    made.actor.save(update_fields=["password"])
    return made


class Door:
    """The sign-in page, with a clock that stands still between attempts: the machine may be slow, delays are not."""

    def __init__(self, owner_sql: Owner) -> None:
        self.sql = owner_sql
        self.stop()

    def stop(self) -> None:
        ((self.stopped,),) = self.sql.execute("select clock_timestamp()").fetchall()

    def let_pass(self, seconds: float) -> None:
        """As if so much time had passed."""
        self.sql.execute(
            f"{SHIFT} - make_interval(secs => %(by)s), seen_at = seen_at - make_interval(secs => %(by)s)",
            {"by": seconds},
        )

    def fail(self, name: str, times: int) -> None:
        """Fail so often, and wait as long as it takes before each: the delay that is due then is a long one."""
        for _ in range(times):
            self.let_pass(31)
            assert waits(self(name)) == 0

    def __call__(
        self,
        name: str,
        password: str = "wrong",
        address: str = "192.0.2.1",
        client: Client | None = None,
        **headers: str,
    ) -> Any:
        """An attempt to sign in."""
        self.sql.execute(f"{SHIFT} + passed.time, seen_at = seen_at + passed.time {PASSED}", [self.stopped])
        sent = {"username": name, "password": password}
        try:
            return (client or new_client()).post("/login/", sent, headers={**HTML, **headers}, REMOTE_ADDR=address)
        finally:
            self.stop()


@pytest.fixture
def attempt(owner_sql: Owner) -> Door:
    return Door(owner_sql)


def waits(answer: Any) -> int:
    """The seconds that somebody has to wait; 0 when the attempt was looked at. The page says what the header says."""
    if answer.status_code != 429:
        assert answer.status_code in (200, 302), answer
        return 0
    seconds = int(answer["Retry-After"])
    assert f"Try again in {seconds} second" in answer.text
    assert answer["Cache-Control"] == "no-store"
    return seconds


def growing(attempt: Door, tries: Any) -> list[int]:
    """The delays that failed attempts meet, when each waits as long as it is told.

    An attempt itself takes time, on a slow machine a second or two: a delay that is so much shorter is told as due, and
    one that an attempt has outlasted counts as met.
    """
    found: list[int] = []
    longest = 0.0  # of the attempts since the last delay
    for one_more in tries:
        begun = time.monotonic()
        seconds = waits(one_more())
        if seconds:
            due = min(30, 2 ** len(found))
            if seconds > due and longest > 0.8 * due:
                found.append(due)
                due = min(30, 2 * due)
            longest = 0.0
            found.append(due if due - 2 <= seconds <= due else seconds)
            attempt.let_pass(seconds + 0.5)
            begun = time.monotonic()
            assert waits(one_more()) == 0, "who has waited as long as told is let through"
        longest = max(longest, time.monotonic() - begun)
    return found


@pytest.mark.usefixtures("quick_hashes")
@pytest.mark.parametrize("known", [True, False], ids=["a name that exists", "a name that nobody has"])
def test_a_names_delay_grows_to_30_seconds_over_all_addresses(attempt: Door, person: Person, known: bool) -> None:
    name = person.username if known else unique("nobody")
    tries = (lambda number=number: attempt(name, address=f"198.51.100.{number}") for number in range(1, 14))
    assert growing(attempt, tries) == [1, 2, 4, 8, 16, 30, 30]


@pytest.mark.usefixtures("quick_hashes")
def test_an_addresss_delay_grows_to_30_seconds_over_all_names(attempt: Door) -> None:
    tries = (lambda number=number: attempt(f"name-{number}", address="203.0.113.9") for number in range(17))
    assert growing(attempt, tries) == [1, 2, 4, 8, 16, 30]
    assert waits(attempt("name-x", address="203.0.113.10")) == 0  # the neighbour is somebody else
    tries = (lambda number=number: attempt(f"n-{number}", address=f"2001:db8:1:2::{number}") for number in range(12))
    assert growing(attempt, tries) == [1]  # the /64 of IPv6 is one address


def test_one_name_from_one_address_waits_after_three_failures_and_the_right_password_waits_no_longer(
    attempt: Door, person: Person
) -> None:
    assert [waits(attempt(person.username)) for _ in range(4)] == [0, 0, 0, 0]
    attempt.fail(person.username, 3)
    # 8 seconds; a slow machine may take some of them.
    assert 4 <= waits(attempt(person.username, PASSWORD)) <= 8
    assert 4 <= waits(attempt(person.username.upper(), PASSWORD)) <= 8  # the same name, as far as guessing goes
    attempt.let_pass(8)
    assert attempt(person.username, PASSWORD).status_code == 302
    assert attempt(person.username, PASSWORD).status_code == 302  # and the count by both is gone


def test_after_a_while_a_count_begins_anew(attempt: Door, person: Person) -> None:
    for number in range(9):
        attempt.let_pass(31)
        waits(attempt(person.username, address=f"198.51.100.{number}"))
    assert 4 <= waits(attempt(person.username, address="198.51.100.9")) <= 8
    attempt.let_pass(16 * 60)
    assert [waits(attempt(person.username, address=f"198.51.100.{number}")) for number in range(6)] == [0] * 6


def test_the_answer_is_the_same_whether_the_name_exists_and_comes_before_hashing(
    attempt: Door, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    original = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *args: (hashed.append("once"), original(self, *args))[1]
    )
    pages = {}
    for name, address in ((person.username, "192.0.2.1"), (unique("nobody"), "192.0.2.2")):
        hashed.clear()
        answers = [attempt(name, address=address) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200] * 4 + [429]
        assert len(hashed) == 4, "an unknown name is hashed as well, and who has to wait is not"
        plain = [re.sub('(csrfmiddlewaretoken" value=")[^"]*', "\\1", one.text).replace(name, "N") for one in answers]
        pages[name] = plain[3:]
    first, second = pages.values()
    assert first == second


@pytest.mark.usefixtures("quick_hashes")
def test_a_program_is_answered_by_a_problem(attempt: Door) -> None:
    name = unique("nobody")
    *_, answer = (attempt(name, Accept="application/json") for _ in range(5))
    assert (answer.status_code, answer["Content-Type"]) == (429, "application/problem+json")
    assert (answer.json()["code"], answer["Retry-After"]) == ("too_many_requests", "1")


def test_what_a_client_says_of_its_own_address_is_not_believed(attempt: Door, person: Person, settings: Any) -> None:
    def forwarded(number: int) -> int:
        return waits(attempt(person.username, address="192.0.2.7", **{"X-Forwarded-For": f"198.51.100.{number}"}))

    assert [forwarded(number) > 0 for number in range(5)] == [False] * 4 + [True]
    from ipaddress import ip_network

    settings.TRUSTED_PROXIES = (ip_network("192.0.2.7"),)
    assert forwarded(77) == 0  # a named proxy is


def test_a_browser_that_signed_in_before_is_not_delayed_by_strangers_but_by_its_own_failures(
    attempt: Door, person: Person
) -> None:
    known = new_client()
    assert attempt(person.username, PASSWORD, client=known).status_code == 302
    known.post("/logout/")
    for number in range(8):
        attempt(person.username, address=f"198.51.100.{number}")
        attempt(unique("nobody"))  # from the known browser's own address, too
        attempt.let_pass(31)
    for number in range(12):
        attempt(person.username, address=f"198.51.100.{number}")
        attempt(unique("nobody"))
    assert waits(attempt(person.username, PASSWORD)) > 0  # another browser
    assert attempt(person.username, PASSWORD, client=known).status_code == 302
    known.post("/logout/")
    assert waits(attempt(person.username, address="198.51.100.99")) > 0  # and strangers go on waiting
    assert [waits(attempt(person.username, client=known)) > 0 for _ in range(5)] == [False] * 4 + [True]


def test_a_browser_is_known_for_its_own_person_only(attempt: Door, person: Person) -> None:
    other, browser = make_person(make_team()), new_client()
    attempt(person.username, PASSWORD, client=browser)
    (name,) = (name for name in browser.cookies if name.startswith("known_"))
    mine = browser.cookies[name]
    assert mine["httponly"]
    assert person.username not in f"{name}{mine.value}"
    stolen, forged = new_client(), new_client()
    from memoryhub.interface.pages.browsers import _cookie

    stolen.cookies[_cookie(other.username)] = mine.value
    forged.cookies[_cookie(person.username)] = f"{person.actor.id}:x:y"
    for number in range(8):
        attempt(other.username, address=f"198.51.100.{number}")
        attempt(person.username, address=f"198.51.101.{number}")
    # Three tries, since a slow machine's hash may outlast the first delay; a known browser would have all three free.
    assert any(waits(attempt(other.username, client=stolen)) for _ in range(3))
    assert any(waits(attempt(person.username, client=forged)) for _ in range(3))


@pytest.mark.usefixtures("quick_hashes")
def test_the_counts_are_bounded_hold_no_name_and_are_pruned(attempt: Door, owner_sql: Owner, settings: Any) -> None:
    settings.SIGNIN_ROWS = 20
    for number in range(40):
        attempt(f"a password typed as a name {number}", address=f"198.51.{number}.1")
    assert SignInDelay.objects.count() <= 20 + 3
    ((rows,),) = owner_sql.execute("select count(*) from signin_delay where key ~ '^[0-9a-f]{64}$'").fetchall()
    assert rows == SignInDelay.objects.count()
    attempt.let_pass(3600)
    prune()
    assert SignInDelay.objects.count() == 0


@pytest.fixture(scope="module")
def second() -> Iterator[Server]:
    with web("web-2") as server:
        yield server


def test_parallel_guesses_at_two_web_processes_are_counted_before_they_are_hashed(
    server: Server, second: Server
) -> None:
    """24 at once: as many are looked at as there are free failures, not all that came before the first had failed."""
    person = make_person(make_team())

    with httpx2.Client(base_url=server.url, timeout=60) as client:
        client.get("/login/").raise_for_status()
        token = client.cookies["csrftoken"]

    def guess(number: int) -> int:
        form = {"username": person.username, "password": "x", "csrfmiddlewaretoken": token}
        url = f"{(server, second)[number % 2].url}/login/"
        return httpx2.post(url, data=form, headers={**HTML, "Cookie": f"csrftoken={token}"}, timeout=60).status_code

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(guess, range(24)))
    # On a slow machine the 24 take longer than the delays of 1 and 2 s: a few more may have waited long enough.
    assert 1 <= answers.count(200) <= 8
    assert set(answers) <= {200, 429, 503}  # 503: too many wait to be hashed
