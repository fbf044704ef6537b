"""A research team: several agents explore one question from different angles, and find each other's work."""

import time
import uuid
from typing import Any

from hub import Hub, agents, say

ANGLES = {
    "market": "Retail chains of mid size restock tents twice a year, in February and in August.",
    "supply": "The mill in Lodz weaves ripstop RS-2210 with a lead time of nine weeks.",
    "risk": "Ripstop RS-2210 failed the hydrostatic test in two batches of last year.",
}


def run(outreach: Hub, research: Hub, sales: Hub) -> dict[str, Any]:
    """The story; what came of it."""
    project = f"study-{uuid.uuid4().hex[:8]}"
    start = research.get("feed")["next"]
    for angle in ANGLES:
        research.post("tasks", key=f"{project}:{angle}", title=f"Tents: {angle}", metadata={"project": project})

    # Each takes the next free question; no two ever get the same one.
    worked: dict[str, str] = {}
    findings: dict[str, str] = {}
    for name, hub in (("outreach", outreach), ("research", research), ("sales", sales)):
        claimed = hub.post("tasks/claim-next", metadata={"project": project})
        key, token = claimed["task"]["key"], claimed["lease"]["token"]
        angle = key.rpartition(":")[2]
        row = hub.post(
            "observations", task=key, content=ANGLES[angle], tags=["finding", angle], importance=0.8, token=token
        )
        hub.post(f"tasks/{key}/complete", token=token)
        worked[angle], findings[angle] = name, row["id"]
        say(name, f"took {angle}")
    nothing = research.post("tasks/claim-next", metadata={"project": project})

    # The feed tells everybody what happened, in order and without a gap; no content, just where to look.
    events = research.get("feed", after=start, types="observation.log", wait=5)["events"]
    say("research", f"heard of {len(events)} observations since {start}")

    # Ask in plain words, or for an identifier; search may be a few seconds behind.
    hits = search(research, "which fabric failed the test?", "RS-2210")

    plan = research.post(
        "decisions",
        task=f"{project}:supply",
        decision={"fabric": "RS-2210"},
        reasoning="Nine weeks is enough before February.",
        based_on=[findings["supply"], findings["market"]],
    )
    better = research.post(
        f"decisions/{plan['id']}/supersede",
        decision={"fabric": "RS-3400"},
        reasoning="Two batches of RS-2210 failed the test.",
        based_on=[findings["risk"]],
    )
    say("research", f"decided, and decided better: the first is {research_status(research, plan['id'], project)}")
    lesson = research.post(
        "learnings",
        signal_type="pattern",
        details="Look at test reports before lead times.",
        context={"topic": "fabric", "item": "tent"},
    )
    relevant = sales.post("learnings/relevant", context={"topic": "fabric"}, exclude_own=True)["results"]
    return {
        "worked": worked,
        "nothing": nothing,
        "events": events,
        "hits": hits,
        "plan": plan["id"],
        "superseded": research_status(research, plan["id"], project),
        "better": better,
        "lesson": lesson["id"],
        "relevant": [row["id"] for row in relevant],
    }


def search(hub: Hub, *questions: str) -> dict[str, list[str]]:
    """What each question finds, once the index has caught up."""
    found: dict[str, list[str]] = {}
    for question in questions:
        for _ in range(60):
            hits = hub.get("search", q=question, types="observation")["results"]
            if hits:
                break
            time.sleep(0.5)
        found[question] = [str(hit["row"]["content"]) for hit in hits]
        say("research", f"“{question}” finds: {found[question][0] if found[question] else 'nothing'}")
    return found


def research_status(hub: Hub, decision: str, project: str) -> str:
    """The status of one of the project's decisions."""
    rows = hub.get("decisions", task=f"{project}:supply")["results"]
    return str(next(row["status"] for row in rows if row["id"] == decision))


if __name__ == "__main__":
    run(**agents("outreach", "research", "sales"))
