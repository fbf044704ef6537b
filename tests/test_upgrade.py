"""An upgrade by `make run`: nothing is lost, and what people and agents hold still fits."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from memoryhub.run import embedded, processes
from tests.support import servers
from tests.support.upgrade import Agent, Installation, Person, Snapshot, recorded_runs, unpack, until

HIGH = {"sensitivity": "confidential", "compartments": ["finance"]}
PASSWORD = "a long passphrase of Sam's"
ASKED = {"reason_code": "other", "reason": "It is above my limit.", "question": "May I?"}
ACTION = {"name": "refund", "arguments": {"order": "1042", "amount": 80.5}}
# What an upgrade and the work that waited may change in a row that was there: times of use, and the machinery's own.
MOVING = {"agent": {"last_seen_at"}, "api_key": {"last_used_at"}, "actor": {"last_login"}, "team": {"feed_floor"}}
MACHINERY = ("django_", "outbox", "search_", "axes_", "idempotency", "auth_")
# Said a second time until then: the membership in the installation's team says it alone, and is compared.
LEFT_OUT = {"actor": frozenset({"is_superuser"})}


@dataclass
class Held:
    """What people and agents hold while the system is down."""

    agent: Agent
    high: Agent
    sam: Person
    before: Snapshot
    ids: dict[str, str]
    etag: str
    token: int
    cursor: int
    first: Any  # what the request with the Idempotency-Key was answered
    pending: int  # outbox rows that were due and not done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("upgrade")
    yield made
    processes.end(processes.marked(made / "data"))
    embedded.remove(made / "data")


def use(old: Installation, folder: Path) -> Held:
    """A day with the earlier version, at whose end background work is still due."""
    with old.running():
        for name, words in (("intake", ()), ("fraud", ("--clearance", "confidential", "--compartments", "finance"))):
            old.manage("add_agent", name, "--team", "main", *words)
        rights = ("--clearance", "confidential", "--compartments", "finance", "--password-file", "-")
        for name in ("sam", "gone"):
            old.manage("add_person", name, "--team", "main", *rights, text=PASSWORD + "\n")
        old.manage("import_trajectories", str(recorded_runs(folder)), "--team", "main")
        agent, high = (Agent(old.url, old.manage("issue_key", name, "--team", "main")) for name in ("intake", "fraud"))
        sam = Person(old.url).sign_in("sam", PASSWORD)
        gone = Person(old.url).sign_in("gone", PASSWORD)
        ids: dict[str, str] = {}
        for key in ("t-open", "t-held", "t-claimed", "t-decided", "t-gone", "t-answered"):
            agent.make("tasks", {"key": key, "title": f"Title of {key}"})
            agent.make("observations", {"task": key, "content": {"of": key}, "tags": ["seen"]})
        high.make("tasks", {"key": "t-secret", "title": "Sealed", **HIGH})
        ids["secret"] = high.make("observations", {"task": "t-secret", "content": "a sealed text"})["id"]
        token = int(agent.make("tasks/t-held/claim", {"ttl_seconds": 3600})["token"])
        etag = agent.send("PUT", "facts/price", {"value": 1}, If_None_Match="*").headers["ETag"]
        etag = agent.send("PUT", "facts/price", {"value": 2}, If_Match=etag).headers["ETag"]
        decision = {"task": "t-open", "decision": "wait", "reasoning": "Since.", "action_key": "k"}
        first = agent.make("decisions", decision, Idempotency_Key="once")
        agent.make("learnings", {"signal_type": "pattern", "details": "Look twice.", "context": {"kind": "refund"}})
        ids["alert"] = high.make("alerts", {"to": ["intake"], "insight": "Hold all refunds."})["id"]
        for key in ("t-claimed", "t-decided", "t-gone", "t-answered"):
            asked = {**ASKED, "task": key, "allowed": ["approve", "edit", "reject"], "action": ACTION}
            ids[key] = agent.make("escalations", asked)["id"]
        assert sam.post(f"/escalations/{ids['t-claimed']}/claim").status_code == 200
        for key, hands_back in (("t-decided", False), ("t-answered", True)):
            assert sam.post(f"/escalations/{ids[key]}/claim").status_code == 200
            decided = {"verdict": "approve", "hand_back": hands_back}
            assert sam.post(f"/escalations/{ids[key]}/decide", decided).status_code == 200
        assert gone.post(f"/escalations/{ids['t-gone']}/claim").status_code == 200
        for part in (*old.parts("celery worker"), *old.parts("celery beat")):
            part.suspend()
        old.manage("shell", "-c", DEACTIVATE)  # whose consequences stand in the outbox, undone
        cursor = agent.get("feed?limit=1").json()
        cursor = agent.get(f"feed?after={cursor['next']}&limit=1").json()["next"]
        for part in (*old.parts("celery worker"), *old.parts("celery beat")):
            part.kill()  # else it would do the work while it stops
    before = old.snapshot()
    due = [row for row in before["outbox"].values() if row["done_at"] is None and row["handler"].endswith("of_member")]
    return Held(agent, high, sam, before, ids, etag, token, int(cursor), first, len(due))


DEACTIVATE = """
from memoryhub.core.actions import memberships
from memoryhub.core.models import Membership, Team
from memoryhub.core.viewers import system_viewer
team = Team.objects.get(slug="main")
member = Membership.objects.select_related("actor").get(team=team, name="gone")
memberships.change(system_viewer(team.id), member=member, role=member.role, clearance=member.clearance,
                   compartments=member.compartments, is_active=False)
"""


def lost(before: Snapshot, after: Snapshot, touched: set[str]) -> list[str]:
    """What was there and is not, or reads otherwise; `touched`: rows that the work that waited has changed."""
    found = []
    for table, rows in before.items():
        if table.startswith(MACHINERY):
            continue
        for key, row in rows.items():
            now = after.get(table, {}).get(key)
            if now is None:
                found.append(f"{table} {key} is gone")
            elif not touched & {str(row.get("id")), str(row.get("task_id"))}:
                kept = [name for name in row if name in now and name not in MOVING.get(table, ())]
                found += [f"{table} {key}.{name}: {row[name]} {now[name]}" for name in kept if row[name] != now[name]]
                gone = row.keys() - now.keys() - LEFT_OUT.get(table, frozenset())
                found += [f"{table} {key}.{name} is gone" for name in gone]
    return found


def test_an_upgrade_loses_nothing(folder: Path) -> None:
    held = use(Installation(folder / "data", unpack(folder / "old")), folder)
    assert len(held.before["escalation"]) >= 24, "the recorded runs ask for people, too"
    assert held.pending >= 1, "work waits for the new version"
    new = Installation(folder / "data", servers.ROOT)
    with new.running() as said:
        ids = held.ids
        agent, high = Agent(new.url, held.agent.key), Agent(new.url, held.high.key)
        sam = Person(new.url)
        sam.client.cookies = held.sam.client.cookies

        # The session goes on: the queue, a claim that is one's own, a decision that was not yet handed back.
        queue = sam.client.get("/", headers={"Accept": "text/html"})
        assert queue.status_code == 200
        row = queue.text.partition(f'id="e-{ids["t-claimed"]}"')[2].partition("</tr>")[0]
        assert "claimed it" in row, "the last event of what was changed before the upgrade"
        assert sam.post(f"/escalations/{ids['t-claimed']}/decide", {"verdict": "approve"}).status_code == 200
        assert agent.get(f"escalations/{ids['t-claimed']}/answer?wait=30").json()["decision"] == "approve"
        assert sam.post(f"/escalations/{ids['t-decided']}/hand-back").status_code == 200
        assert agent.get(f"escalations/{ids['t-decided']}/answer?wait=30").json()["action"] == ACTION
        assert agent.get(f"escalations/{ids['t-answered']}/answer").json()["decision"] == "approve"

        # The work that waited is done, by the names that the old version gave its handlers.
        until(lambda: agent.get(f"escalations/{ids['t-gone']}").json()["state"] == "queued")

        # What agents hold still fits: key, cursor, token, entity tag, idempotency key.
        page = agent.get(f"feed?after={held.cursor}&limit=100")
        assert page.status_code == 200, page.text
        seqs = [event["seq"] for event in page.json()["events"]]
        assert seqs == sorted(seqs)
        assert agent.send("POST", "tasks/t-held/renew", {"token": held.token}).status_code == 200
        again = {"task": "t-open", "decision": "wait", "reasoning": "Since.", "action_key": "k"}
        assert agent.make("decisions", again, Idempotency_Key="once")["id"] == held.first["id"]
        put = agent.send("PUT", "facts/price", {"value": 3}, If_Match=held.etag)
        assert put.status_code in (200, 412), put.text
        assert agent.get("facts/price").json()["value"] == (3 if put.status_code == 200 else 2)
        assert high.get("tasks/t-secret/context").json()["observations"][0]["content"] == "a sealed text"
        assert high.get(f"observations/{ids['secret']}").json()["content"] == "a sealed text"
        assert [row["id"] for row in agent.get("alerts").json()["results"]] == [ids["alert"]]
        assert agent.get("search?q=Look+twice").json()["results"]
        after_old = max(row["seq"] for row in held.before["event_seq"].values())
        assert agent.make("observations", {"task": "t-open", "content": "new"})["seq"] > after_old
        assert "Traceback" not in said.read_text()
    after = new.snapshot()
    touched = {row["id"] for row in held.before["escalation"].values() if row["id"] in ids.values()}
    touched |= {row["task_id"] for row in held.before["escalation"].values() if row["id"] in touched}
    touched |= {row["id"] for row in held.before["task"].values() if row["key"] in ("t-held", "t-open")}
    touched |= {row["id"] for row in held.before["fact"].values()}
    assert not lost(held.before, after, touched)
    undone = [row["handler"] for row in after["outbox"].values() if row["failure"] or row["attempts"] > 3]
    assert not undone, undone

    # The control: a row less, and a value changed, are found.
    rows = held.before["observation"]
    key = next(key for key, row in rows.items() if not touched & {row["id"], row["task_id"]})
    without = {name: row for name, row in after["observation"].items() if name != key}
    assert lost(held.before, {**after, "observation": without}, touched) == [f"observation {key} is gone"]
    changed = {**after["observation"], key: {**rows[key], "importance": 0.123}}
    assert lost(held.before, {**after, "observation": changed}, touched)
