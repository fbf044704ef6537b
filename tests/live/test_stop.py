"""A server that is told to stop ends what waits: long polls with a problem, streams as streams end."""

import signal
import threading
from typing import Any

import httpx2

from memoryhub.run.launch import web_command
from tests.support import servers
from tests.support.factories import make_agent, make_team


def test_what_waits_is_ended_in_order_and_the_log_tells_of_no_fault() -> None:
    agent = make_agent(make_team())
    port = servers.free_port()
    url = f"http://127.0.0.1:{port}"
    got: dict[str, Any] = {}

    def poll() -> None:
        got["poll"] = httpx2.get(f"{url}/api/v1/feed?after=0&types=none&wait=60", headers=agent.headers, timeout=30)

    def read() -> None:
        with httpx2.stream("GET", f"{url}/api/v1/feed/stream", headers=agent.headers, timeout=30) as stream:
            begun.set()
            got["stream"] = b"".join(stream.iter_raw())

    begun = threading.Event()
    threads = [threading.Thread(target=poll), threading.Thread(target=read)]
    with servers.started("stopping", web_command(port), lambda _: servers.answers(f"{url}/readyz")) as process:
        for thread in threads:
            thread.start()
        assert begun.wait(10)
        threading.Event().wait(0.5)  # the poll waits by now
        process.popen.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(timeout=15)
        assert process.popen.wait(timeout=10) in (0, -signal.SIGTERM)
        log = process.log.read_text()
    assert (got["poll"].status_code, got["poll"].json()["code"]) == (503, "unavailable")
    assert got["stream"].startswith(b"retry:")
    assert "Traceback" not in log
