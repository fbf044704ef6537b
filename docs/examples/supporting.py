"""Customer support with escalation: an agent asks, a person answers at the desk, the agent goes on with the answer."""

import uuid
from typing import Any

from hub import ADDRESS, Hub, Refused, agents, say


def run(intake: Hub, patience: int = 20) -> dict[str, Any]:
    """The story; what came of it. `patience`: how many minutes to wait for the person."""
    task = f"refund-{uuid.uuid4().hex[:8]}"
    intake.post("tasks", key=task, title="Refund for two nights", requester="Grace Lim", metadata={"order": "H-2210"})
    lease = intake.post(f"tasks/{task}/claim")
    intake.post(
        "observations", task=task, content={"tool": "get_order", "result": {"paid": 180, "nights": 2}}, tags=["order"]
    )
    intake.post("observations", task=task, content="The customer sounds upset.", private=True)
    asked = intake.post(
        "escalations",
        task=task,
        reason_code="approval_required",
        reason="180 is above my limit of 100.",
        question="May I refund both nights?",
        allowed=["approve", "edit", "reject"],
        action={"name": "refund", "arguments": {"order": "H-2210", "amount": 180}},
        recommendation="Approve: the room could not be used.",
        priority="high",
    )
    say("intake", f"asked a person: {ADDRESS}/escalations/{asked['id']}/")

    # While a person has the task, the agent cannot act on it; what it still sees may be logged.
    answer = None
    refused = ""
    for _ in range(patience * 3):
        answer = intake.get(f"escalations/{asked['id']}/answer", wait=20)
        if answer is not None:
            break
        try:
            intake.post("decisions", task=task, decision={"refund": 180}, reasoning="Tired of waiting.")
        except Refused as error:
            refused = error.code
            say("intake", f"wanted to act meanwhile: {refused}")
    if answer is None:
        say("intake", "nobody answered in time; the escalation stays in the queue")
        return {"task": task, "answer": None, "refused": refused}

    say("intake", f"{answer['by']} says: {answer['decision']}, {answer['action']}")
    intake.post(f"escalations/{asked['id']}/acknowledge")
    lease = intake.post(f"tasks/{task}/claim")
    if answer["decision"] in ("approve", "edit"):
        intake.post(
            "decisions",
            task=task,
            decision=answer["action"],
            reasoning=f"{answer['by']} said so.",
            action_key=f"refund:{task}",
            token=lease["token"],
        )
    done = intake.post(f"tasks/{task}/complete", token=lease["token"], outcome={"answer": answer["decision"]})
    figures = intake.get("insights")
    say("intake", "done; the team's escalation rate and the time to an answer are in the insights")
    return {"task": task, "escalation": asked["id"], "answer": answer, "status": done["status"], "insights": figures}


if __name__ == "__main__":
    run(**agents("intake"))
