"""`make audit`: a known hole is found and fails it; a source that cannot be reached is told and fails nothing."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.servers import ROOT, free_port

CLOSED = f"http://127.0.0.1:{free_port()}"
OFFLINE = {"HTTPS_PROXY": CLOSED, "HTTP_PROXY": CLOSED, "https_proxy": CLOSED, "http_proxy": CLOSED, "NO_PROXY": ""}
HOLE = {
    "id": "OSV-2026-1",
    "modified": "2026-01-01T00:00:00Z",
    "affected": [{"package": {"name": "django", "ecosystem": "PyPI"}, "ranges": [], "versions": []}],
}


def audit(**environment: str) -> tuple[int, str]:
    offline = {**OFFLINE, "npm_config_registry": CLOSED}
    done = subprocess.run(
        [sys.executable, ".ci/audit.py"],
        cwd=ROOT,
        env={**os.environ, **offline, **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def advisories() -> Iterator[str]:
    """A server that speaks OSV's protocol, and knows a hole in Django."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"vulns": [HOLE]} if asked["package"]["name"] == "django" else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()


def test_a_known_hole_is_named_and_fails_the_audit(advisories: str) -> None:
    code, said = audit(OSV_URL=advisories, NO_PROXY="127.0.0.1", no_proxy="127.0.0.1")
    assert code == 1, said
    assert "requirements.txt: django 5.2" in said
    assert "has OSV-2026-1" in said
    assert "package-lock.json: not audited, since npm's registry cannot be reached from here" in said


def test_sources_that_cannot_be_reached_are_told_and_fail_nothing() -> None:
    code, said = audit(OSV_URL=f"{CLOSED}/v1/query")
    assert code == 0, said
    assert said.count("not audited, since") == 3
    assert "Traceback" not in said
