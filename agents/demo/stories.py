"""The cases of the simulated shop: a kind and a number determine one case."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

RETURN, QUESTION, PAYMENT = "return", "question", "payment"
PRICE_NEEDING_APPROVAL = 100

NAMES = (
    "Ada Novak",
    "Ben Okoye",
    "Carla Reyes",
    "Deniz Aydin",
    "Elin Berg",
    "Farid Haddad",
    "Grace Lim",
    "Hugo Martin",
)
GOODS = ("hiking boots", "a rain jacket", "a camping stove", "a tent", "a head torch", "a sleeping bag", "trail shoes")
FLAWS = (
    "the seam came apart",
    "it arrived scratched",
    "it is a size too small",
    "the zip sticks",
    "it is the wrong colour",
)
QUESTIONS = (
    ("Does {goods} come with a spare part?", "The product page says nothing about spare parts."),
    ("Can {goods} be delivered to a parcel locker?", "The carrier's list has no entry for this parcel size."),
    ("Is {goods} covered if I use it for work?", "The warranty text speaks of private use only."),
)
SIGNS = (
    "Three cards were tried for one order within two minutes.",
    "The delivery address was changed an hour after payment.",
    "The card's country and the delivery country differ, and the account is a day old.",
)


@dataclass(frozen=True)
class Ask:
    """An escalation, in the fields of POST /api/v1/escalations."""

    reason_code: str
    reason: str
    question: str
    allowed: list[str]
    priority: str = "normal"
    recommendation: str | None = None
    action: dict[str, Any] | None = None


@dataclass(frozen=True)
class Case:
    """One case. `decision`, `reasoning` and `reply`: what the agent does when it need not or cannot ask."""

    kind: str
    number: int
    title: str
    requester: str
    words: str
    finding: str
    research: str
    decision: dict[str, Any]
    reasoning: str
    reply: str
    ask: Ask | None = None

    @property
    def key(self) -> str:
        """The task's key."""
        return f"demo-{self.kind}-{self.number:08d}"

    @property
    def order(self) -> str:
        """The shop's order number."""
        return f"order-{self.number:08d}"

    @property
    def metadata(self) -> dict[str, Any]:
        """The task's metadata, from which any agent can reconstruct the case."""
        return {"simulated": True, "kind": self.kind, "number": self.number}


def tell(kind: str, number: int) -> Case:
    """The case of this kind and number (0 to 99,999,999). Raises KeyError for an unknown kind."""
    draw = random.Random(f"{kind}:{number}")  # noqa: S311  (a story, not a secret)
    return _TELLERS[kind](number, draw)


def _return(number: int, draw: random.Random) -> Case:
    goods, flaw, price, days = draw.choice(GOODS), draw.choice(FLAWS), draw.randrange(20, 260), draw.randrange(2, 60)
    others = draw.randrange(7)
    refund = {"order": f"order-{number:08d}", "amount_eur": price, "method": "original payment"}
    ask, decision = None, {"do": "refund_payment", **refund}
    reasoning = f"Day {days} of 30, price {price} EUR: within what may be refunded without asking."
    if days > 30:
        decision, reasoning = {"do": "refuse_return"}, f"Day {days} is after the 30 days of the returns policy."
        voucher = {"order": refund["order"], "value_eur": round(price / 2)}
        ask = Ask(
            "policy_exception",
            f"The customer returns {goods} on day {days}; the policy ends on day 30. They say: {flaw}.",
            "May I send a goodwill voucher, and of what value?",
            ["approve", "edit", "respond", "reject"],
            recommendation="A voucher of half the price: the fault is plausible, and it is a returning customer.",
            action={"name": "send_voucher", "arguments": voucher, "schema": _schema(voucher, "value_eur", price)},
        )
    elif price > PRICE_NEEDING_APPROVAL:
        decision, reasoning = {"do": "wait_for_parcel"}, "Nobody has approved the refund; the parcel is awaited first."
        ask = Ask(
            "approval_required",
            f"A refund of {price} EUR is above the {PRICE_NEEDING_APPROVAL} EUR that I may decide alone.",
            f"Shall I refund {price} EUR for {goods}?",
            ["approve", "edit", "reject"],
            recommendation="Approve: returned in time, and the fault shows on the customer's photo.",
            action={"name": "refund_payment", "arguments": refund, "schema": _schema(refund, "amount_eur", price)},
        )
    return Case(
        RETURN,
        number,
        f"Return of {goods} (simulated)",
        draw.choice(NAMES),
        f"I want to send back {goods}: {flaw}. I bought it {days} days ago.",
        f"Order found: {goods}, {price} EUR, delivered {days} days ago, not returned before.",
        f"Other returns of {goods} this month: {others}, of them because {flaw}: {draw.randint(0, others)}.",
        decision,
        reasoning,
        "Thank you for your patience. This is what our returns policy allows; the details are in your account.",
        ask,
    )


def _schema(arguments: dict[str, Any], amount: str, highest: int) -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": "string"} for name in arguments}
    properties[amount] = {"type": "number", "minimum": 0, "maximum": highest}
    return {
        "type": "object",
        "properties": properties,
        "required": list(arguments),
        "additionalProperties": False,
    }


def _question(number: int, draw: random.Random) -> Case:
    goods, name = draw.choice(GOODS), draw.choice(NAMES)
    asked, gap = draw.choice(QUESTIONS)
    words, ask = asked.format(goods=goods), None
    turn = draw.random()
    if turn < 0.3:
        ask = Ask(
            "missing_information",
            f"{gap} I looked at the product page, the help pages and earlier answers.",
            f"{name} asks: {words} What shall I answer?",
            ["respond"],
            priority=draw.choice(("low", "normal")),
        )
    elif turn < 0.5:
        words = f"This is the third time that I ask. {words} I want to speak with a person."
        ask = Ask(
            "customer_request",
            f"{name} asks for a person, after two answers that did not help.",
            "What shall I tell the customer from you?",
            ["respond", "ignore"],
            priority="high",
        )
    return Case(
        QUESTION,
        number,
        f"Question about {goods} (simulated)",
        name,
        words,
        f"{gap} The supplier's sheet answers most of it.",
        f"The same question came {draw.randrange(1, 9)} times this quarter.",
        {"do": "answer_from_supplier_sheet"},
        "The supplier's sheet is the best source at hand.",
        "Here is what the supplier says; if it does not answer your question, write again and a person will read it.",
        ask,
    )


def _payment(number: int, draw: random.Random) -> Case:
    amount, name, sign = draw.randrange(180, 1900), draw.choice(NAMES), draw.choice(SIGNS)
    decision: dict[str, Any] = {"do": "release_payment"}
    ask, reasoning = None, "No known pattern of fraud fits."
    if draw.random() < 0.6:
        arguments = {"order": f"order-{number:08d}", "hours": 48}
        decision, reasoning = (
            {"do": "hold_payment", "hours": 4},
            f"{sign} Held for a short time until somebody can look.",
        )
        ask = Ask(
            "safety",
            f"{sign} {amount} EUR are at stake, and a wrong hold costs us a customer.",
            "Shall I hold this payment for 48 hours?",
            ["approve", "respond", "reject"],
            priority=draw.choice(("high", "urgent")),
            recommendation="Hold it and ask the customer for a call.",
            action={"name": "hold_payment", "arguments": arguments},
        )
    return Case(
        PAYMENT,
        number,
        f"Payment review, {amount} EUR (simulated)",
        name,
        f"Payment of {amount} EUR by {name} was flagged by the payment provider.",
        sign if ask else "The flag fits a holiday purchase of a known customer.",
        "",
        decision,
        reasoning,
        "Your payment has been reviewed; the result is in your account.",
        ask,
    )


_TELLERS: dict[str, Callable[[int, random.Random], Case]] = {RETURN: _return, QUESTION: _question, PAYMENT: _payment}
