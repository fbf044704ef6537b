"""A holder of leases for I3, a process of its own as an agent is.

Claims a task for a second, works under its token with pauses for which the harness may stop the process, and says on
standard output, a JSON line each, what it was granted and what became of each write: [what, task, token, ref, status].
"""

import http.client
import json
import random
import sys
import time
from typing import Any

STALE = 0.3  # seconds that a holder may sleep by itself, too, so that some writes come near the end of the lease


class Holder:
    """One agent over the public door, on a kept connection."""

    def __init__(self, port: int, key: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        """Status and answer. A connection that was cut while this process stood still is made anew; 0: unknown."""
        try:
            self.connection.request("POST", f"/api/v1/{path}", json.dumps(body), self.headers)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return 0, None


def say(*words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main(port: int, key: str, prefix: str, tasks: int, checked: bool) -> None:
    """Claim and write until ended. `checked` False (the control): the writes leave their token out."""
    holder, dice = Holder(port, key), random.Random(key)
    number = 0
    while True:
        task = f"{prefix}-{dice.randrange(tasks)}"
        status, lease = holder.post(f"tasks/{task}/claim", {"ttl_seconds": 1})
        if status != 200:
            time.sleep(0.02)
            continue
        token = lease["token"]
        say("granted", task, token, "", 200)
        for _ in range(dice.randrange(1, 4)):
            if dice.random() < 0.1:
                time.sleep(STALE)
            number += 1
            ref = f"{key[-8:]}.{number}"
            body = {"task": task, "content": "seen", "client_ref": ref, "tags": [str(token)]}
            status, _ = holder.post("observations", body | ({"token": token} if checked else {}))
            say("wrote", task, token, ref, status)
        status, _ = holder.post(f"tasks/{task}/release", {"token": token})
        say("released", task, token, "", status)


if __name__ == "__main__":
    port, key, prefix, tasks, checked = sys.argv[1:]
    main(int(port), key, prefix, int(tasks), checked == "checked")
