"""Clients for I23: what they hold of a history that is lost, who stays connected over a fork, and who comes back with
the integer that it kept.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx2
import orjson
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.proofs.i23_servers import SECONDS, until
from tests.proofs.i23_world import World
from tests.support.desk_socket import open_socket
from tests.support.streams import Reader

HEARD = "types=observation.log"


class Held:
    """ETags, lease tokens and a label's id, of what is lost."""

    def __init__(self, world: World) -> None:
        self.world, self.faults = world, list[str]()
        self.fact = f"f{time.monotonic_ns()}"
        self.tag = world.send("PUT", f"facts/{self.fact}", {"value": "kept"}, If_None_Match="*").headers["ETag"]
        self.task = world.send("POST", "tasks", {"key": self.fact, "title": "kept"}).headers["ETag"]
        world.send("POST", f"tasks/{self.fact}/claim").raise_for_status()
        self.token = world.send("GET", f"tasks/{self.fact}").json()["lease"]["token"]
        world.send("POST", f"tasks/{self.fact}/release", {"token": self.token}).raise_for_status()
        self.task = world.send("GET", f"tasks/{self.fact}").headers["ETag"]

    def lose(self) -> None:
        """Changes that the fork undoes."""
        put = self.world.send("PUT", f"facts/{self.fact}", {"value": "lost"}, If_Match=self.tag)
        self.lost_tag = put.raise_for_status().headers["ETag"]
        patched = self.world.send("PATCH", f"tasks/{self.fact}", {"title": "lost"}, If_Match=self.task)
        self.lost_task = patched.raise_for_status().headers["ETag"]
        self.lost_token = self.world.send("POST", f"tasks/{self.fact}/claim").raise_for_status().json()["token"]

    def judge(self) -> None:
        """The same versions again, by somebody else: nothing that is lost fits them."""
        send, fact, task = self.world.send, f"facts/{self.fact}", f"tasks/{self.fact}"
        new = send("PUT", fact, {"value": "new"}, If_Match=self.tag)
        newer = send("PATCH", task, {"title": "new"}, If_Match=self.task)
        if (new.status_code, newer.status_code) != (200, 200):
            self.faults.append(f"a good ETag is refused: {new.status_code}, {newer.status_code}")
        for name, path, body, tag in (
            ("fact", fact, {"value": "wrong"}, self.lost_tag),
            ("task", task, {"title": "wrong"}, self.lost_task),
        ):
            reply = send("PUT" if name == "fact" else "PATCH", path, body, If_Match=tag)
            if (reply.status_code, reply.json().get("expected")) != (412, None):
                self.faults.append(f"a lost ETag of a {name}: {reply.status_code}")
        if send("GET", fact).json()["value"] != "new":
            self.faults.append("a lost ETag has overwritten")
        stale = {"content": "x", "task": self.fact, "token": self.lost_token}
        if send("POST", "observations", stale).status_code != 409:
            self.faults.append("a lost lease token is taken before the next claim")
        token = send("POST", f"tasks/{self.fact}/claim").json()["token"]
        if token <= self.lost_token:
            self.faults.append(f"the token {token} after {self.lost_token}")
        if send("POST", "observations", stale).status_code != 409:
            self.faults.append("a lost lease token is taken")


class Connected:
    """Who stays connected over the fork: a stream, a socket and a long poll that heard what is lost, and a stream of
    another team, which lost nothing, until it hears its first event.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.last: dict[str, int] = {}
        self.heard: dict[str, list[int]] = {"stream": [], "socket": [], "calm": []}
        self.told: dict[str, int] = {}
        self.threads: list[threading.Thread] = []
        self.sockets: list[ClientConnection] = []

    def end(self) -> None:
        """Let go of what is connected still."""
        for socket in self.sockets:
            socket.close()

    def begin(self, after: int) -> None:
        """Connect, each from this cursor."""
        calm = self.world.send("GET", "feed", as_calm=True).json()["next"]
        todo = [
            lambda: self._stream("stream", self.world.agent, after),
            lambda: self._stream("calm", self.world.calm, calm),
            lambda: self._socket(after),
        ]
        for work in todo:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self.threads.append(thread)
        until(lambda: len(self.last) == 3, "not connected")

    def wait_for(self, lost: int) -> None:
        """Until those of the first team have heard the last that is lost; and a long poll waits behind it."""
        until(lambda: min(self.last["stream"], self.last["socket"]) >= lost, "what is lost was never heard")
        thread = threading.Thread(target=lambda: self._poll(lost), daemon=True)
        thread.start()
        self.threads.append(thread)
        time.sleep(0.5)

    def _stream(self, name: str, client: httpx2.Client, after: int) -> None:
        with (
            suppress(httpx2.HTTPError, StopIteration),
            client.stream("GET", f"/api/v1/feed/stream?after={after}&{HEARD}") as reply,
        ):
            reader = Reader(reply, after)
            self.last[name] = after
            while True:
                message = reader.message()
                if message.event == "resync":
                    self.told[name] = message.data["floor"]
                elif message.event:
                    self.heard[name].append(message.data["seq"])
                    if name == "calm":
                        return
                self.last[name] = max(self.last[name], reader.last or 0)

    def _socket(self, after: int) -> None:
        with (
            suppress(ConnectionClosed, TimeoutError),
            open_socket(self.world.url, self.world.made["team"], self.world.made["session"]) as socket,
        ):
            self.sockets.append(socket)
            task = self.world.send("GET", "tasks/t").json()["id"]
            socket.send(orjson.dumps({"after": after, "task": task}).decode())
            while True:
                frame = orjson.loads(socket.recv(timeout=SECONDS))
                if frame["type"] == "resync":
                    self.told["socket"] = frame["floor"]
                elif frame["type"] == "event" and frame["event"] == "observation.log":
                    self.heard["socket"].append(frame["seq"])
                self.last["socket"] = max(self.last.get("socket", after), frame.get("seq", 0))

    def _poll(self, after: int) -> None:
        headers = {"Authorization": f"Bearer {self.world.made['key']}"}
        address = f"{self.world.url}/api/v1/feed?after={after}&wait=60&{HEARD}"
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:  # as a client does that is told 503, or nothing
            with suppress(httpx2.HTTPError):
                reply = httpx2.get(address, headers=headers, timeout=SECONDS)
                if reply.status_code == 410:
                    self.told["long poll"] = reply.json()["floor"]
                    return
            time.sleep(0.1)


def poll(world: World, cursor: int, head: int) -> int | list[int]:
    """The floor that a cursor is told, or the numbers that it is served, up to `head`."""
    found: list[int] = []
    while True:
        reply = world.agent.get(f"/api/v1/feed?after={cursor}&{HEARD}")
        if reply.status_code == 410:
            assert reply.json()["code"] == "resync"
            return int(reply.json()["floor"])
        page = reply.raise_for_status().json()
        found += [event["seq"] for event in page["events"]]
        if not page["events"]:
            return found
        cursor = page["next"]


def stream(world: World, cursor: int, head: int) -> int | list[int]:
    """The same by the stream."""
    with world.agent.stream("GET", f"/api/v1/feed/stream?{HEARD}", headers={"Last-Event-ID": str(cursor)}) as reply:
        if reply.status_code == 410:
            return int(orjson.loads(reply.read())["floor"])
        assert reply.status_code == 200
        reader, found = Reader(reply, cursor), []
        while (reader.last or cursor) < head:
            message = reader.message()
            found += [message.data["seq"]] if message.event == "observation.log" else []
        return found


def socket(world: World, cursor: int, head: int) -> int | list[int]:
    """The same by the desk's socket."""
    found: list[int] = []
    told: int | None = None
    task = world.send("GET", "tasks/t").json()["id"]
    with open_socket(world.url, world.made["team"], world.made["session"]) as connection:
        connection.send(orjson.dumps({"after": cursor, "task": task}).decode())
        while True:
            frame = orjson.loads(connection.recv(timeout=SECONDS))
            if frame["type"] == "resync":
                told = frame["floor"]
            elif frame["type"] == "event" and frame["event"] == "observation.log":
                found.append(frame["seq"])
            elif frame["type"] == "ready":
                return found if told is None else told


DOORS: dict[str, Callable[[World, int, int], int | list[int]]] = {"poll": poll, "stream": stream, "socket": socket}
