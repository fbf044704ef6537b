"""Customer acquisition: outreach finds a prospect, research enriches it, sales pitches; nobody messages anybody."""

import uuid
from typing import Any

from hub import Hub, Refused, agents, say


def run(outreach: Hub, research: Hub, sales: Hub) -> dict[str, Any]:
    """The story; what came of it."""
    task = f"prospect-{uuid.uuid4().hex[:8]}"
    profile = f"{task}:profile"

    outreach.post("tasks", key=task, title="Win Acme Outdoor as a customer", metadata={"industry": "retail"})
    contact = outreach.post(
        "observations",
        task=task,
        content={"name": "Dana Cole", "role": "head of purchasing", "company": "Acme Outdoor"},
        tags=["prospect_data"],
        importance=0.8,
    )
    outreach.create(profile, {"company": "Acme Outdoor", "contact": "Dana Cole"}, task=task)
    say("outreach", "logged the contact and began a profile")

    # Research looks for what others found, not for its own notes, and only for the tags that it can use.
    found = research.get("observations", task=task, tags="prospect_data", exclude_own="true")["results"]
    intel = research.post(
        "observations",
        task=task,
        content={"company": found[0]["content"]["company"], "shops": 14, "industry": "retail", "company_size": "mid"},
        tags=["company_intel"],
        importance=0.9,
        pinned=True,
    )
    research.post(
        "observations", task=task, content="Two sources disagree on 14 or 15 shops; took the newer.", private=True
    )
    add_to(research, profile, {"shops": 14, "company_size": "mid"})
    say("research", f"read {len(found)} finding(s), logged its own, and added to the profile")

    # The pitch rests on what the others found; its action key makes sure that Acme is pitched once.
    context = sales.get(f"tasks/{task}/context", budget=2000)
    private = [row for row in context["observations"] if row["private"]]
    pitch = sales.post(
        "decisions",
        task=task,
        decision={"pitch": "seasonal restock", "industry": "retail", "company_size": "mid"},
        reasoning="14 shops restock before the season.",
        based_on=[contact["id"], intel["id"]],
        action_key=f"pitch:{task}",
    )
    say("sales", f"decided on a pitch from {len(context['observations'])} findings, {len(private)} of them private")
    try:
        outreach.post(
            "decisions",
            task=task,
            decision={"pitch": "cold call"},
            reasoning="Worth a try.",
            action_key=f"pitch:{task}",
        )
        conflict = None
    except Refused as refused:
        conflict = refused.problem
        say("outreach", f"wanted to pitch as well: {refused.code}, {conflict['held_by']} does already")

    # What came of it is the team's to learn from.
    sales.post(f"decisions/{pitch['id']}/outcome", outcome="worked", note="They ordered for three shops.")
    learned = outreach.post(
        "learnings/relevant", context={"industry": "retail", "company_size": "mid"}, exclude_own=True, limit=5
    )["results"]
    say("outreach", f"asked what worked for similar companies: {len(learned)} learning(s)")

    alert = sales.post(
        "alerts",
        to={"group": "outreach"},
        insight="Acme cut its budget; all deals with it are on hold for 30 days.",
        severity="critical",
    )
    heard = outreach.get("alerts")["results"]
    outreach.post(f"alerts/{alert['id']}/acknowledge")
    receipts = sales.get(f"alerts/{alert['id']}")["recipients"]
    say("sales", f"warned outreach, who has read it: {[one['name'] for one in receipts if one['acknowledged_at']]}")
    return {
        "profile": research.get(f"facts/{profile}"),
        "private": private,
        "conflict": conflict,
        "learned": learned,
        "heard": [one["id"] for one in heard],
        "alert": alert["id"],
        "receipts": receipts,
    }


def add_to(hub: Hub, key: str, more: dict[str, Any]) -> None:
    """Add members to a fact. When somebody else was first, read it again and add to theirs."""
    while True:
        fact = hub.get(f"facts/{key}")
        try:
            hub.change(key, {**fact["value"], **more}, hub.etag)
            return
        except Refused as refused:
            if refused.code != "precondition_failed":
                raise


if __name__ == "__main__":
    run(**agents("outreach", "research", "sales"))
