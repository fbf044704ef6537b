"""P11: from an agent's POST to the row on a real browser's screen, 100 other dashboards open."""

import json
import statistics
import time

from playwright.sync_api import Page, sync_playwright

from bench import fanout
from bench.baselines import serving
from bench.load import Client, encode
from bench.measure import Length, Line, Result, compare
from bench.p10_fanout import SHOWN, handshake
from bench.p12_escalate import ASK
from bench.seed import Plan, seed
from bench.stack import PYTHON, Stack, free_port
from tests.support.chromium import launch

WHAT = "agent's POST to a row on a browser's screen, 100 dashboards beside"
OTHERS, GOAL_MS, SHOWN_SECONDS = 100, 150.0, 20.0
OURS, ECHO = "memoryhub", "a bare socket's echo"

# When each row that comes (an element whose id begins with `e-`) has been painted, by the clock of the machine.
WATCH = """
window.painted = {};
new MutationObserver(() => {
  for (const row of document.querySelectorAll("[id^=e-]")) {
    if (row.id in window.painted) continue;
    window.painted[row.id] = null;
    requestAnimationFrame(() => setTimeout(() => {
      window.painted[row.id] = performance.timeOrigin + performance.now();
    }));
  }
}).observe(document, { childList: true, subtree: true });
"""
LISTEN = """port => new Promise(opened => {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`);
  socket.onopen = () => socket.send("{}");
  socket.onmessage = ({ data }) => {
    const told = JSON.parse(data);
    if (told.type === "ready") return opened();
    document.body.insertAdjacentHTML("afterbegin", `<p id="e-${told.id}">${told.row}</p>`);
  };
})"""


def measure(stack: Stack, _: Length) -> Result:
    """Goal: 150 ms, for 95 of 100. The echo, which does nothing but send, shows how much of it is the browser's."""
    count, at_once = 60, 20  # not more: the list of the queue has an end
    database = stack.database("p11")
    # Many agents, since an agent's rows beyond the first few are folded into one.
    seeded = seed(stack, database, Plan(agents=count, tasks={f"t{number}": 1 for number in range(count)}))
    environment = database.environment | {"SOCKETS_PER_PERSON": "10000"}
    stack.collect_static(database)
    desk = json.loads(stack.run([PYTHON, "-m", "bench.desk_session"], environment))
    port, bare = free_port(), free_port()
    rounds: dict[str, list[float]] = {OURS: [], ECHO: []}
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for begin in range(0, count, at_once):
            server = stack.serve(serving.product(port), environment, port)
            hello, path = json.dumps({"after": desk["after"]}), f"/ws/t/{desk['team']}/queue/"
            job = fanout.Job(port, OTHERS, handshake(path, port, desk["cookie"]), hello, '"ready"', '"event"')
            name, _, value = desk["cookie"].partition("=")
            page = browser.new_page()
            page.context.add_cookies([{"name": name, "value": value, "url": f"http://127.0.0.1:{port}"}])
            page.add_init_script(WATCH)
            with fanout.held(job):
                page.goto(f"http://127.0.0.1:{port}/")
                page.locator("main[data-live=ready]").wait_for()
                events = [
                    encode("POST", "/api/v1/escalations", port, seeded.keys[at], {"task": f"t{at}", **ASK})
                    for at in range(begin, begin + at_once)
                ]
                rounds[OURS].append(_late(page, port, events))
            page.close()
            stack.end(server)

            server = stack.serve([PYTHON, "-m", "bench.baselines.raw_fanout", str(bare)], environment, bare)
            job = fanout.Job(bare, OTHERS, handshake("/", bare, ""), "{}", '"ready"', '"event"')
            page = browser.new_page()
            page.add_init_script(WATCH)
            with fanout.held(job):
                page.goto(f"http://127.0.0.1:{bare}/")
                page.evaluate(LISTEN, bare)
                told = [{"type": "event", "id": f"{at}", "row": "x" * SHOWN} for at in range(at_once)]
                rounds[ECHO].append(_late(page, bare, [encode("POST", "/", bare, body=body) for body in told]))
            page.close()
            stack.end(server)
        browser.close()
    line = compare(rounds, OURS, ECHO, target="P11", what=WHAT, unit="ms, p95", goal=None, at_least=False)
    goal = Line(
        "P11", "against the goal's 150 ms", line.ours, GOAL_MS, line.unit, line.ours / GOAL_MS, 1.0, at_least=False
    )
    return Result("p11", [line, goal], rounds=dict(rounds))


def _late(page: Page, port: int, events: list[bytes]) -> float:
    """The 95th percentile of the milliseconds from a request to its row on the screen; the first does not count."""
    client = Client(port)
    late = []
    for number, event in enumerate(events):
        time.sleep(0.2)
        sent = 1000 * time.time()
        status, body, _ = client.send(event)
        if status not in (200, 201):
            raise RuntimeError(f"an event answered {status}: {body[:500]!r}")
        late.append(_painted(page, f"e-{json.loads(body)['id'] if body else number}") - sent)
    client.close()
    return statistics.quantiles(late[1:], n=20)[18]


def _painted(page: Page, row: str) -> float:
    deadline = time.monotonic() + SHOWN_SECONDS
    while time.monotonic() < deadline:
        if at := page.evaluate("row => window.painted[row] ?? null", row):
            return float(at)
        time.sleep(0.02)
    raise RuntimeError(f"the browser did not show {row}")
