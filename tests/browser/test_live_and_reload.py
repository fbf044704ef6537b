"""What is live is what a reload shows: every filter of queue and timeline, every type of event, every role.

A role's pages, one a filter, are open on a desk, while everything happens there, one thing after the other. After each,
the pages are compared with what the server sends for their addresses. Filters and events are the code's own lists.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, Route

from escalations.desk import queue, timeline
from escalations.models import Priority, ReasonCode
from memoryhub.core.fields import LEVELS
from tests.support.desk_pages import live
from tests.support.factories import Person
from tests.support.live_world import DRIVERS, STEPS, LiveWorld, live_types, make_world
from tests.support.signing_in import sign_in
from tests.support.web import Server

ROLES = ("reader", "support", "lead", "admin", "low")
SHORT = ("support",)  # in `make test`; a role takes half a minute
# The values of each filter; those of a closed list are the code's. Each role has one of them, or some in turn.
QUEUE: dict[str, Sequence[str]] = {
    "status": list(queue.STATUSES),
    "priority": Priority.labels,
    "sensitivity": LEVELS,
    "reason": ReasonCode.values[-5:],
    "agent": ["returns", "billing"],
    "owner": ["me", "none", "sam", "lee"],
    "q": ["LAMP", "limit", "confidential", "café", "c"],
    "show": ["2"],
    "unfold": ["returns"],
}
TIMELINE: dict[str, Sequence[str]] = {
    "kind": timeline.kinds(),
    "agent": ["returns", "lee", "sam"],
    "tag": ["x, y", "order"],
    "q": ["lamp", "secret", "pinned", "superseded", "content"],
    "private": ["true"],
}
# Of a document: the words of each row or item, without times; what is said besides; and how many are free.
SNAPSHOT = """
(root) => {
  const words = (node) => {
    const copy = node.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) time.remove();
    return copy.textContent.replace(/\\s+/g, " ").trim();
  };
  const passing = /^is-(new|changed|mine|continued)$/;
  const styles = (node) => [...node.classList].filter((one) => !passing.test(one)).join(" ");
  const lines = (of) => [...root.querySelectorAll(of)].map((line) => `${line.id} ${styles(line)}: ${words(line)}`);
  const is_hidden = (id) => root.getElementById(id)?.hidden ?? null;
  const free = [...root.querySelectorAll("#rows .crowd")].reduce((sum, line) => sum + Number(line.dataset.free), 0);
  return JSON.stringify({
    lines: [...lines("#rows > tr"), ...lines("#since > li"), ["----"], ...lines("#before > li")],
    said: [lines("#queue > .notice"), is_hidden("nothing"), is_hidden("taken-notice")],
    free: root.getElementById("rows") && root.querySelectorAll("#rows .claim").length + free,
  }, null, 1);
}
"""
LIVE = f"() => ({SNAPSHOT})(document)"
TITLE = "() => Number(/^\\((\\d+)\\)/.exec(document.title)?.[1] ?? 0)"
RELOADED = f"""
async (addresses) => {{
  const found = [];
  for (const address of addresses) {{
    const page = await (await fetch(address, {{ headers: {{ Accept: "text/html" }} }})).text();
    found.push(({SNAPSHOT})(new DOMParser().parseFromString(page, "text/html")));
  }}
  return found;
}}
"""
PATIENCE = 6.0


@dataclass(frozen=True)
class Open:
    """One page. `address`: what a reload of it loads."""

    address: str
    page: Page

    @property
    def is_queue(self) -> bool:
        return self.address.startswith("/?") or self.address == "/"


def addresses(role: str, world: LiveWorld) -> list[str]:
    """Of each filter a page; where a closed list has more values than there are roles, more of them."""
    found = []
    for path, filters in (("/", QUEUE), (f"/escalations/{world.made['m'].id}/", TIMELINE)):
        found.append(path)
        for name, values in filters.items():
            turns = range(ROLES.index(role), max(len(ROLES), len(values)), len(ROLES))
            found += [f"{path}?{urlencode({name: values[turn % len(values)]})}" for turn in turns]
    return found


OpenAll = Callable[..., list[Open]]


@pytest.fixture
def open_all(chromium: Browser, server: Server) -> Iterator[OpenAll]:
    """Opens the pages of a person, as the tabs of one browser; `tamper` replaces a script of theirs."""
    contexts: list[BrowserContext] = []

    def make(person: Person, wanted: Sequence[str], tamper: Callable[[Route], None] | None = None) -> list[Open]:
        context = chromium.new_context(base_url=server.url, reduced_motion="reduce")
        contexts.append(context)
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": sign_in(person), "url": server.url}])
        context.route("**/*.css", lambda route: route.abort())  # what it looks like costs most of the time
        if tamper is not None:
            context.route("**/live*.js", tamper)
        pages = [Open(address, context.new_page()) for address in wanted]
        for one in pages:
            one.page.goto(one.address, wait_until="commit")
        for one in pages:
            live(one.page)
        return pages

    yield make
    for context in contexts:
        context.close()


def differing(pages: Sequence[Open]) -> dict[Open, str]:
    """Those of the pages that do not show what a reload shows, and how."""
    found: dict[Open, str] = {}
    reloaded = pages[0].page.evaluate(RELOADED, [one.address for one in pages]) if pages else []
    for one, expected in zip(pages, reloaded, strict=True):
        shown = one.page.evaluate(LIVE)
        if shown != expected:
            found[one] = f"live {shown}\nreloaded {expected}"
        elif one.is_queue and f'"free": {one.page.evaluate(TITLE)}' not in shown:
            found[one] = f"title {one.page.title()}\nreloaded {expected}"
    return found


def settle(pages: Sequence[Open]) -> dict[Open, str]:
    """Those that still differ when everything has come that is on its way."""
    until = time.monotonic() + PATIENCE
    found = differing(pages)
    while found and time.monotonic() < until:
        time.sleep(0.1)
        found = differing(list(found))
    return found


def test_the_filters_and_the_events_are_all_there_are() -> None:
    assert set(QUEUE) == queue.PARAMETERS
    assert set(TIMELINE) == timeline.PARAMETERS
    assert {name.partition(":")[0] for name in DRIVERS} >= live_types()
    assert [*chain(*STEPS)] == list(dict.fromkeys(chain(*STEPS)))
    assert set(chain(*STEPS)) == set(DRIVERS)
    for name, values in {**QUEUE, **TIMELINE}.items():
        assert len(values) <= 2 * len(ROLES), f"{name}: addresses() would leave some out"


@pytest.mark.prove
@pytest.mark.parametrize("role", ROLES)
def test_what_is_live_is_what_a_reload_shows(
    open_all: OpenAll, owner_sql: psycopg.Connection[Any], role: str, full: bool
) -> None:
    if not (full or role in SHORT):
        pytest.skip("`make prove` runs it for every role")
    world = make_world(owner_sql)
    pages = open_all(world.people[role], addresses(role, world))
    differ = {("at first", one.address): how for one, how in settle(pages).items()}
    known = {address for _, address in differ}
    for names in [*STEPS, ()]:
        for name in names:
            DRIVERS[name](world)
        # No queue shows what is not of an escalation; at the end all pages are compared.
        in_queue = not names or any(name.startswith("escalation.") for name in names)
        shown = [one for one in pages if (in_queue or not one.is_queue) and one.address not in known]
        for one, how in settle(shown).items():
            differ[" ".join(names), one.address] = how
            known.add(one.address)
    assert not differ, "\n\n".join(f"{what} at {address}\n{how}" for (what, address), how in differ.items())


def test_pages_that_do_not_tell_how_they_are_narrowed_are_caught(
    open_all: OpenAll, owner_sql: psycopg.Connection[Any]
) -> None:
    """The control: the same comparison of pages whose script tells the server nothing of the filter."""
    world = make_world(owner_sql)
    told, untold = "task: main.dataset.task, view }", "task: main.dataset.task }"

    def tamper(route: Route) -> None:
        script = route.fetch().text()
        assert told in script
        route.fulfill(body=script.replace(told, untold), content_type="text/javascript")

    case = f"/escalations/{world.made['m'].id}/"
    pages = open_all(world.people["lead"], ["/", "/?owner=me", case, f"{case}?q=secret"], tamper)
    assert not settle(pages)
    for name in ("observation.log", "escalation.claim"):
        DRIVERS[name](world)
    assert {one.address for one in settle(pages)} == {"/?owner=me", f"{case}?q=secret"}
