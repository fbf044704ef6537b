"""Fixtures for every test: real servers, the product's processes, a browser. Teams and people: support.factories."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from memoryhub.run.launch import beat_command, worker_command
from tests.support import servers
from tests.support.chromium import launch
from tests.support.web import Server, web

RUN = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the proofs at their full size (make prove)")


def pytest_configure(config: pytest.Config) -> None:
    """Before Django is set up: servers from the process that steers the run, a database for each that runs tests."""
    if config.getoption("help") or config.getoption("version"):
        return
    worker = getattr(config, "workerinput", {}).get("workerid")
    if worker is None:
        if "DJANGO_SETTINGS_MODULE" in os.environ:
            pytest.exit("unset DJANGO_SETTINGS_MODULE: the tests bring servers and settings of their own", 4)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)  # end like after Ctrl-C, and leave nothing running
        config.stash[RUN] = servers.begin_run()
    if worker is not None or config.getoption("dist", "no") == "no":
        servers.begin_worker(worker or "main")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three for each two cores, at most four: a fifth of a test's time is waiting, for a lease or a server."""
    return min(4, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files whose tests wait for Celery come first, while its sweeps find few teams; then the longest, so that at
    the end no worker of the run waits for another's.
    """
    swept = {item.path for item in items if "worker" in getattr(item, "fixturenames", ())}
    long = {Path(__file__).parent.name: 1, "proofs": 2, "browser": 3, "live": 4}
    items.sort(key=lambda item: 0 if item.path in swept else long.get(item.path.parent.name, len(long) + 1))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the run has started, however it ended."""
    if (data := config.stash.get(RUN, None)) is not None:
        servers.end_run(data)


@pytest.fixture(scope="session", autouse=True)
def _database(django_db_blocker: Any) -> Iterator[None]:
    """Every test may use the database: there is nothing to roll back, so nothing to ask for."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether a proof is to run at its full size."""
    return bool(pytestconfig.getoption("full"))


@pytest.fixture(scope="session")
def owner_sql() -> Iterator[psycopg.Connection[Any]]:
    """A connection to this worker's database as its owner, whom row-level security does not bind; autocommit."""
    with psycopg.connect(os.environ["DATABASE_OWNER_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture  # of one test: some end every connection of the app role
def app_sql() -> Iterator[psycopg.Connection[Any]]:
    """A bare connection as the app role, without any viewer's settings; autocommit."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The web process that the tests of this worker share; its log is `server.process.log`."""
    with web("web") as shared:
        yield shared


@pytest.fixture(scope="module")  # not longer: idle, it goes on sweeping over the teams that all tests leave
def worker() -> Iterator[servers.Process]:
    """The product's Celery worker and beat; the worker's process."""
    from memoryhub.config.celery import app

    data = Path(os.environ["MEMORYHUB_DATA"]) / os.environ["REDIS_PREFIX"]
    data.mkdir(exist_ok=True)
    with (
        servers.started("worker", worker_command(), lambda _: app.control.ping(timeout=0.5)) as process,
        servers.started("beat", beat_command(data), lambda _: True),
    ):
        yield process


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium, headless."""
    # Playwright runs an event loop in this thread, and Django would refuse the database beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Makes pages of people who share nothing (a browser profile each); options as of Playwright's `new_context`.

    A script that fails on one of them, or that the page's policy stops, fails the test.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def make(**options: Any) -> Page:
        defaults = {"base_url": server.url, "viewport": {"width": 1280, "height": 800}}
        context = chromium.new_context(**{**defaults, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if "Content Security Policy" in said.text else None)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not faults, faults


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """One page, 1280 x 800, of nobody who is signed in yet."""
    return new_page()
