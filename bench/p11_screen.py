"""P11: from an agent's escalation to its row on a real browser's screen, with 100 other dashboards open."""

import asyncio
import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from bench.baselines import serving
from bench.fanout import Job, open_sockets
from bench.load import Client, encode
from bench.measure import Length, Line, Result
from bench.p10_fanout import handshake
from bench.p12_escalate import ASK
from bench.seed import Plan, seed
from bench.stack import PYTHON, Stack, free_port

OTHERS, GOAL_MS = 100, 150.0
FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-dev-shm-usage"]
# The moment, by the clock that this process shares, of the first frame painted after the words stand on the page.
SEEN = """
words => new Promise(seen => {
  const look = () => {
    if (!document.body.innerText.includes(words)) return false;
    requestAnimationFrame(() => setTimeout(() => seen(performance.timeOrigin + performance.now())));
    return true;
  };
  if (look()) return;
  const observer = new MutationObserver(() => { if (look()) observer.disconnect(); });
  observer.observe(document.body, {subtree: true, childList: true, characterData: true});
})
"""


def measure(stack: Stack, length: Length) -> Result:
    """Goal: 150 ms for 19 of 20."""
    events = 60 if length.is_long else 30
    database = stack.database("p11")
    tasks = [f"case-{number}" for number in range(events)]
    seeded = seed(stack, database, Plan(agents=1, tasks=dict.fromkeys(tasks, 1)))
    environment = database.environment | {"SOCKETS_PER_PERSON": "1000"}
    desk = json.loads(stack.run([PYTHON, "-m", "bench.desk_session"], environment))
    port = free_port()
    server = stack.serve(serving.product(port), environment, port)
    with _browser(port, desk["cookie"]) as page, _dashboards(port, desk):
        client = Client(port)
        taken = [_shown(page, client, port, seeded.keys[0], task) for task in tasks]
        client.close()
    stack.end(server)
    late = statistics.quantiles(taken[3:], n=20)[18]  # the first ones compile templates
    line = Line(
        "P11", "escalation to a browser's screen, p95", late, GOAL_MS, "ms", late / GOAL_MS, 1.0, at_least=False
    )
    return Result("p11", [line], rounds={"ms": taken})


def _shown(page: Page, client: Client, port: int, key: str, task: str) -> float:
    words = f"May I refund {task}?"
    page.evaluate(f"window.seen = ({SEEN})({json.dumps(words)})")
    time.sleep(0.2)
    begun = time.time()
    status, body, _ = client.send(
        encode("POST", "/api/v1/escalations", port, key, {**ASK, "task": task, "question": words})
    )
    if status != 201:
        raise RuntimeError(f"escalating answered {status}: {body[:500]!r}")
    seen: float = page.evaluate("window.seen")
    return seen - 1000 * begun


@contextmanager
def _browser(port: int, cookie: str) -> Iterator[Page]:
    """The queue's page, live."""
    name, _, value = cookie.partition("=")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{port}"}])
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_timeout(1000)
        yield page
        browser.close()


@contextmanager
def _dashboards(port: int, desk: dict[str, str]) -> Iterator[None]:
    """The others, on a thread of their own, which read what they are sent."""
    job = Job(
        port,
        OTHERS,
        handshake(f"/ws/t/{desk['team']}/queue/", port, desk["cookie"]),
        json.dumps({"after": desk["after"]}),
        '"ready"',
        "nothing",
    )
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    asyncio.run_coroutine_threadsafe(open_sockets(job), loop).result(60)
    yield
    loop.call_soon_threadsafe(loop.stop)
