"""The demo's agents.

Every row is sent with a client_ref, so an agent that was restarted in the middle of a case simply repeats it: existing
rows are not duplicated, and an answer that has arrived is used.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from agents.demo.client import DemoClient, RequestRefused
from agents.demo.stories import PAYMENT, QUESTION, RETURN, Case, tell

LEASE_SECONDS = 120
LONG_POLL_SECONDS = 25
MOST_OPEN = 8  # escalations that wait for a person; beyond, agents stop asking
FINDINGS_TRIES = 5


class DemoAgent:
    """The base of the demo's agents. `pace`: a factor of its pauses, 1 for people who watch."""

    def __init__(self, hub: DemoClient, seed: int, pace: float) -> None:
        self.hub = hub
        self.pace = pace
        self.draw = random.Random(f"{hub.name}:{seed}")  # noqa: S311  (a story, not a secret)

    async def pause(self, low: float, high: float) -> None:
        """Sleep for a while, as somebody who reads or types."""
        await asyncio.sleep(self.draw.uniform(low, high) * self.pace)

    def say(self, text: str) -> None:
        """Print a line for those who watch the terminal."""
        print(f"{self.hub.name}: {text}", flush=True)

    async def persist(self, do: Callable[[], Awaitable[None]]) -> None:
        """Do it; when the API refuses something, say so and leave it for now.

        `human_owned`: a person was faster. `lease_lost`: we were too slow. An abandoned lease expires, and the case is
        claimed again.
        """
        try:
            await do()
        except RequestRefused as refused:
            self.say(f"leaves it for now: {refused}")
            await self.pause(5, 10)

    async def open_case(self, case: Case, **label: Any) -> None:
        """Create the task and log what the customer said."""
        await self.hub.post(
            "tasks", key=case.key, title=case.title, requester=case.requester, metadata=case.metadata, **label
        )
        await self.observe(case, case.words, "user")

    async def observe(self, case: Case, content: str, tag: str, **fields: Any) -> None:
        """Log an observation: one per tag and agent in each case."""
        ref = f"{case.key}:{tag}"
        await self.hub.post(
            "observations", task=case.key, content=content, tags=[tag, "simulated"], client_ref=ref, **fields
        )


class Intake(DemoAgent):
    """Opens a new case every 20 to 40 seconds."""

    async def run(self) -> None:
        """For ever. Raises KeyRefused."""
        while True:
            await self.persist(self.open_next)
            await self.pause(20, 40)

    async def open_next(self) -> None:
        """Open a case of a random kind."""
        await self.open_case(tell(self.draw.choice((RETURN, QUESTION)), self.draw.randrange(10**8)))


class Worker(DemoAgent):
    """Works on the cases of one kind, under a lease, and asks a person where the case needs one."""

    kind = RETURN

    def __init__(self, hub: DemoClient, seed: int, pace: float) -> None:
        super().__init__(hub, seed, pace)
        self.waiting = asyncio.TaskGroup()  # a long poll for each awaited answer
        self.news = asyncio.Event()  # an answer has come

    async def run(self) -> None:
        """For ever. Raises KeyRefused, alone or in a group."""
        async with self.waiting:
            await self.persist(self.resume)
            while True:
                await self.persist(self.take_next)

    async def take_next(self) -> None:
        """Work on the next case; when there is none, rest a little, or until an answer comes."""
        self.news.clear()
        if (taken := await self.next_task()) is not None:
            await self.work(*taken)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), self.draw.uniform(3, 6) * self.pace)

    async def resume(self) -> None:
        """Wait again for the answers that this agent requested before a restart."""
        waiting = await self.hub.get("tasks", status="escalated", q=f"demo-{self.kind}-", limit=100)
        for task in waiting["results"]:
            case = case_of(task)
            if case and (escalation := await self.asked(case)):
                self.wait_for_answer(case, escalation)

    async def next_task(self) -> tuple[Case, int] | None:
        """A free case of our kind and the fencing token of its lease. Two agents never get the same one."""
        wanted = {"simulated": True, "kind": self.kind}
        claimed = await self.hub.post("tasks/claim-next", metadata=wanted, ttl_seconds=LEASE_SECONDS)
        if claimed is None:
            return None
        case = case_of(claimed["task"])
        return (case, claimed["lease"]["token"]) if case else None

    async def work(self, case: Case, token: int) -> None:
        """Investigate a case, then decide or escalate; once it is answered, do what the person said."""
        escalation = await self.asked(case)
        if escalation is None:
            await self.look_into(case, token)
            if not case.ask or not await self.may_ask():
                await self.settle(case, token, case.decision, case.reasoning, case.reply)
                return
            escalation = await self.escalate(case)
        answer = await self.hub.get(f"escalations/{escalation['id']}/answer")
        if answer is None:
            await self.release(case, token)
            self.wait_for_answer(case, escalation)
        else:
            await self.acknowledge(escalation)
            await self.settle(case, token, *conclusion(case, answer))

    async def look_into(self, case: Case, token: int) -> None:
        """Log our findings, and wait a little for those of other agents."""
        await self.pause(2, 5)
        await self.observe(case, case.finding, "looked-up", token=token)
        for _ in range(FINDINGS_TRIES if case.research and case.kind != QUESTION else 0):
            found = await self.hub.get("observations", task=case.key, tags="finding", exclude_own="true")
            if found["results"]:
                return
            await self.pause(2, 3)

    async def asked(self, case: Case) -> dict[str, Any] | None:
        """The escalation of this case, if there is one."""
        found = await self.hub.get("escalations", task=case.key, limit=1)
        return found["results"][0] if found["results"] else None

    async def may_ask(self) -> bool:
        """Whether few enough are waiting: else nobody is there to answer."""
        waiting = await self.hub.get("tasks", status="escalated", q="demo-", limit=MOST_OPEN)
        return len(waiting["results"]) < MOST_OPEN

    async def escalate(self, case: Case) -> dict[str, Any]:
        """Ask a person. Idempotent: by its client_ref, and by its task."""
        assert case.ask
        asking = {name: value for name, value in vars(case.ask).items() if value is not None}
        made: dict[str, Any] = await self.hub.post("escalations", task=case.key, client_ref=f"{case.key}:ask", **asking)
        self.say(f"asks a person about {case.key} ({case.ask.reason_code})")
        return made

    async def release(self, case: Case, token: int) -> None:
        """Release the task while a person thinks about it."""
        try:
            await self.hub.post(f"tasks/{case.key}/release", token=token)
        except RequestRefused as refused:
            if refused.code not in ("human_owned", "lease_lost"):  # else the person has it already
                raise

    def wait_for_answer(self, case: Case, escalation: dict[str, Any]) -> None:
        """Long-poll in the background until a person has answered; other cases go on."""
        self.waiting.create_task(self.persist(lambda: self.long_poll(case, escalation)))

    async def long_poll(self, case: Case, escalation: dict[str, Any]) -> None:
        """Wait for the answer; then the task is open again and claimed as any other, after a restart too."""
        answer = None
        while answer is None:
            answer = await self.hub.get(f"escalations/{escalation['id']}/answer", wait=LONG_POLL_SECONDS)
            await asyncio.sleep(0 if answer else 0.5)
        self.say(f"{case.key}: {answer['by'] or 'nobody'} said {answer['decision'] or answer['outcome']}")
        self.news.set()

    async def acknowledge(self, escalation: dict[str, Any]) -> None:
        """Acknowledge the answer; a no-op when it was cancelled, or the hub has closed it by itself."""
        try:
            await self.hub.post(f"escalations/{escalation['id']}/acknowledge")
        except RequestRefused as refused:
            if refused.code != "wrong_state":
                raise

    async def settle(self, case: Case, token: int, decision: dict[str, Any], reasoning: str, reply: str) -> None:
        """Decide on what was found, answer the customer and complete the task."""
        await self.pause(1, 3)
        found = await self.hub.get("observations", task=case.key, tags="looked-up,finding", tags_mode="any")
        # One refund per order, whoever decides it: the hub refuses a second active decision with this action_key.
        action_key = {"action_key": f"refund:{case.order}"} if decision["do"] == "refund_payment" else {}
        await self.hub.post(
            "decisions",
            task=case.key,
            decision=decision,
            reasoning=reasoning,
            based_on=[row["id"] for row in found["results"]],
            token=token,
            client_ref=f"{case.key}:decision",
            **action_key,
        )
        await self.observe(case, reply, "reply", token=token)
        await self.hub.post(f"tasks/{case.key}/complete", token=token, outcome=decision)


class Returns(Worker):
    """Handles returns."""

    kind = RETURN


class Research(Worker):
    """Answers questions, and looks things up for cases that others work on."""

    kind = QUESTION

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(super().run())
            both.create_task(self.help_others())

    async def help_others(self) -> None:
        """Add our findings to the cases that other agents hold. Observations need no lease."""
        helped: set[str] = set()
        while True:
            await self.persist(lambda: self.look_around(helped))
            await self.pause(2, 4)

    async def look_around(self, helped: set[str]) -> None:
        """One round; `helped`: the keys of cases that have our finding already."""
        held = await self.hub.get("tasks", status="in_progress", q="demo-", limit=20)
        cases = {case.key: case for task in held["results"] if (case := case_of(task))}
        helped.intersection_update(cases)
        for case in cases.values():
            if case.research and case.kind != self.kind and case.key not in helped:
                await self.pause(1, 3)
                helped.add(case.key)
                await self.observe(case, case.research, "finding", importance=0.6)


class Fraud(Worker):
    """Reviews payments: confidential, compartment `finance`, so that only those who are cleared for it see them."""

    kind = PAYMENT
    review_due = 0.0

    async def next_task(self) -> tuple[Case, int] | None:
        """A review that is free, or every few minutes a new one.

        Sealed tasks have no metadata that could be searched, so they are taken by key and not by claim-next.
        """
        found = await self.hub.get("tasks", q=f"demo-{PAYMENT}-", limit=20)
        free = [task for task in found["results"] if task["status"] in ("open", "in_progress") and not task["lease"]]
        if free:
            case = case_of(free[0])
        elif time.monotonic() > self.review_due:
            self.review_due = time.monotonic() + self.draw.uniform(90, 180) * self.pace
            case = tell(PAYMENT, self.draw.randrange(10**8))
            await self.open_case(case, sensitivity="confidential", compartments=["finance"])
        else:
            case = None
        return (case, await self.claim(case)) if case else None

    async def claim(self, case: Case) -> int:
        """The fencing token of the case's lease. Raises Refused: human_owned, lease_held when another was faster."""
        lease = await self.hub.post(f"tasks/{case.key}/claim", ttl_seconds=LEASE_SECONDS)
        return int(lease["token"])


def case_of(task: dict[str, Any]) -> Case | None:
    """The case of a task; None when the task is not one of the demo's."""
    metadata = task["metadata"]
    try:
        case = tell(metadata["kind"], metadata["number"])
    except (KeyError, TypeError):
        return None
    return case if case.key == task["key"] else None


def conclusion(case: Case, answer: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    """How a person's answer ends a case: decision, reasoning and the reply to the customer."""
    person, verdict, message = answer["by"], answer["decision"], answer.get("message", "")
    if verdict in ("approve", "edit"):
        action = answer["action"]
        return {"do": action["name"], **action["arguments"]}, f"{person} said {verdict}. {message}".strip(), case.reply
    if verdict in ("respond", "reject"):
        do = "answer_with_their_words" if verdict == "respond" else "refuse"
        return {"do": do}, f"{person} said {verdict}: {message}", message
    asked = f"A person was asked ({verdict or answer['outcome']})."
    return case.decision, f"{case.reasoning} {asked}", case.reply
