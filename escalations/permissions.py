"""What people may do with an escalation: one entry per verb.

The case page offers what `allowed_verbs` returns, the actions check by `require`, and both read this table. A verb's
transition stands in escalations.states under the same name, its action is `escalation.NAME`, its door is in
escalations.desk.verbs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Literal
from uuid import UUID

from escalations.models import Audience, Escalation
from escalations.states import ANSWERED, CLAIMED, IN_PROGRESS, QUEUED, RESOLVED, TRANSITIONS, next_state
from memoryhub.core.access.permissions import DESK, LEADS, READERS
from memoryhub.core.errors import Code, Conflict
from memoryhub.core.models import Role
from memoryhub.core.viewers import Viewer

PLACES = ("main", "aside", "warning")  # of offers on the case page


class Who(Enum):
    """Whom a verb is for, among those whose role has it."""

    ANYONE = auto()  # who sees the escalation
    OWNER = auto()
    OWNER_OR_LEAD = auto()  # and anyone, while it has no owner


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a form: a text of several lines; or a choice of `choices` (value, words), by default the first.

    `folded`: inside the fold “What I did, and what comes next”.
    """

    name: str
    label: str
    rows: int = 2
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()
    help: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """How the case page offers a verb: as a button, which opens a form if there are `inputs`.

    `name`: the verb's; of an answer, the verdict. `sheet`: what the list of keys says, if not the label. `place`: one
    of PLACES. Of the form: `legend`, `part` (a template above the inputs), `send` (its button). `confirm`: the question
    that comes first; `withdraws`: on a decided case it adds that the answer is not sent. `past`: what the author of the
    verdict did.
    """

    name: str
    label: str
    key: str = ""
    sheet: str = ""
    place: str = "main"
    title: str = ""
    legend: str = ""
    part: str = ""
    inputs: tuple[Input, ...] = ()
    send: str = ""
    is_dangerous: bool = False
    confirm: str = ""
    withdraws: bool = False
    past: str = ""

    @property
    def form(self) -> str:
        """The name of its form and its draft."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb(Offer):
    """One verb, and how it is offered; or the `answers` that are offered in its place.

    `done`: what the page says afterwards, in ASCII; `phrase`: what the timeline says. `leads_to`: the page that
    follows, if not the one that was open. `states`: those that it is offered in, if it has no transition. `path`: the
    last part of its address, if not its name. `answers_agent`: it is not offered where the agent cannot be reached.
    """

    done: str
    phrase: str = ""
    roles: frozenset[Role] = DESK
    who: Who = Who.ANYONE
    answers: tuple[Offer, ...] = ()
    path: str = ""
    leads_to: Literal["", "case", "queue"] = ""
    states: Collection[str] = ()
    answers_agent: bool = False

    @property
    def offers(self) -> tuple[Offer, ...]:
        return self.answers or (self,)

    @property
    def segment(self) -> str:
        """The last part of its address."""
        return self.path or self.name

    @property
    def form(self) -> str:
        return self.segment

    @property
    def needs_claim(self) -> bool:
        """Whether those who lose the claim may lose the verb."""
        return self.who is not Who.ANYONE

    def is_for(self, viewer: Viewer, owner: UUID | None) -> bool:
        """Whether the viewer may do it while `owner` has the escalation. The rules for agents stand in the actions."""
        if self.who is Who.ANYONE or not viewer.is_human or owner == viewer.membership:
            return True
        return self.who is Who.OWNER_OR_LEAD and (owner is None or viewer.role in LEADS)

    def allows(self, viewer: Viewer, state: str, owner: UUID | None) -> bool:
        """Whether the viewer may do it in this state, while `owner` has the escalation."""
        fits = state in (self.states or TRANSITIONS[self.name])
        return fits and viewer.role in self.roles and self.is_for(viewer, owner)


_ABOUT_IT = (
    Input("done", "What I did", folded=True),
    Input("next", "What I expect next", folded=True),
)
_MESSAGE = Input("message", "Message to the agent (optional)")

_AUDIENCES = ((Audience.EVERYONE.value, "people and agents"), (Audience.PEOPLE.value, "people only"))

# In the order of the page.
_TABLE = (
    Verb(
        "claim",
        "Claim",
        key="c",
        done="It is yours.",
        phrase="claimed it",
        leads_to="case",
    ),
    Verb(
        "keep",
        "Keep it",
        key="h",
        sheet="keep the claim",
        place="warning",
        done="You keep the claim.",
        phrase="is still working on it",
        who=Who.OWNER,
    ),
    Verb(
        "hand_back",
        "Hand back",
        done="The answer is with the agent.",
        phrase="handed it back to the agent",
        who=Who.OWNER_OR_LEAD,
        path="hand-back",
        answers_agent=True,
    ),
    Verb(
        "decide",
        "Answer",
        done="Your answer is with the agent.",
        phrase="answered",
        who=Who.OWNER,
        answers_agent=True,
        answers=(
            Offer(
                "approve",
                "Approve",
                key="a",
                legend="Approve what the agent proposes",
                part="escalations/_approve.html",
                inputs=(_MESSAGE, *_ABOUT_IT),
                send="Approve and hand back",
                past="approved",
            ),
            Offer(
                "edit",
                "Edit",
                key="e",
                legend="Approve with changes",
                part="escalations/_edit.html",
                inputs=(_MESSAGE, *_ABOUT_IT),
                send="Approve with changes and hand back",
                past="approved with changes",
            ),
            Offer(
                "respond",
                "Respond",
                key="r",
                legend="Respond",
                inputs=(Input("message", "Your answer", rows=4, required=True), *_ABOUT_IT),
                send="Send and hand back",
                past="responded",
            ),
            Offer(
                "reject",
                "Reject",
                legend="Reject, and say why",
                inputs=(Input("message", "Why not, and what instead", rows=4, required=True), *_ABOUT_IT),
                send="Reject and hand back",
                is_dangerous=True,
                past="rejected",
            ),
            Offer(
                "ignore",
                "Ignore",
                legend="Ignore: hand it back without an answer",
                inputs=_ABOUT_IT,
                send="Ignore and hand back",
                is_dangerous=True,
                confirm="Hand it back without an answer? The agent goes on by itself.",
                past="chose to ignore it",
            ),
        ),
    ),
    Verb(
        "finish",
        "Finish",
        title="You did the work yourself",
        legend="Finish: you did the work yourself",
        inputs=(
            Input("done", "What was done", rows=3, required=True),
            Input("outcome", "Outcome", choices=(("done", "the task is done"), ("failed", "the task failed"))),
        ),
        send="Finish",
        confirm="Finish it? This ends the task: no agent continues it.",
        past="finished",
        done="Finished. The task has ended.",
        phrase="did the work and closed it",
        who=Who.OWNER,
    ),
    Verb(
        "next",
        "Take the next",
        key="n",
        sheet="take the most urgent free one",
        done="It is yours.",
        leads_to="case",
        states=ANSWERED,
    ),
    Verb(
        "learn",
        "Make this a learning",
        key="l",
        sheet="make the answer a learning",
        legend="Learning: what agents should know next time",
        part="escalations/_learning.html",
        inputs=(
            Input(
                "signal_type",
                "Kind",
                choices=(
                    ("success", "this worked"),
                    ("failure", "this does not work"),
                    ("pattern", "a pattern"),
                    ("recommendation", "advice"),
                ),
            ),
            Input("details", "What agents should know", rows=5, required=True),
            Input(
                "context",
                "When it applies",
                rows=4,
                help="One “name: value” per line. Agents whose case has the same find this learning: remove"
                " what only this case has.",
            ),
        ),
        send="Save learning",
        done="Learning saved. Agents find it by its context.",
        path="learning",
    ),
    Verb(
        "note",
        "Note",
        key="x",
        place="aside",
        legend="Note on this case",
        inputs=(
            Input("text", "Note", rows=3, required=True),
            Input("audience", "For", choices=_AUDIENCES),
        ),
        send="Write note",
        done="The note is on the timeline.",
        phrase="noted",
        roles=READERS,
    ),
    Verb(
        "release",
        "Release",
        place="aside",
        confirm="Release it? It goes back to the queue, and somebody else may claim it.",
        withdraws=True,
        done="It is back in the queue.",
        phrase="released it: back in the queue",
        who=Who.OWNER_OR_LEAD,
        leads_to="queue",
    ),
    Verb(
        "cancel",
        "Cancel request",
        place="aside",
        legend="Cancel: no answer is needed any more",
        inputs=(Input("reason", "Reason", required=True),),
        send="Cancel the request",
        is_dangerous=True,
        confirm="Cancel this request? The agent goes on without an answer.",
        withdraws=True,
        done="Cancelled. The agent goes on without an answer.",
        phrase="cancelled it",
        who=Who.OWNER_OR_LEAD,
    ),
)
VERBS: dict[str, Verb] = {verb.name: verb for verb in _TABLE}
OFFERS: dict[str, Offer] = {offer.form: offer for verb in _TABLE for offer in verb.offers}
# The forms of which drafts are kept.
FORMS = tuple(name for name, offer in OFFERS.items() if offer.inputs)


@dataclass(frozen=True, slots=True)
class Offered:
    """An offer on a viewer's case page. `is_locked`: it needs a claim first; `values`: what its form is filled with."""

    verb: Verb
    offer: Offer
    escalation: Escalation
    is_locked: bool
    is_primary: bool
    values: Mapping[str, str]

    @property
    def address(self) -> str:
        """The address that it is sent to."""
        of_case = "" if self.verb.name == "next" else f"{self.escalation.id}/"
        return f"/escalations/{of_case}{self.verb.segment}"

    @property
    def confirm(self) -> str:
        """The question that comes before it, if any."""
        loses = self.offer.withdraws and self.escalation.state == RESOLVED
        return f"{self.offer.confirm} The answer that was decided is not sent." if loses else self.offer.confirm

    @property
    def inputs(self) -> list[list[tuple[Input, str, str]]]:
        """The inputs, each with its id and its value, and the folded ones after them."""
        shown = [self._filled(one) for one in self.offer.inputs if not one.folded]
        folded = [self._filled(one) for one in self.offer.inputs if one.folded]
        return [shown, folded] if folded else [shown]

    def _filled(self, one: Input) -> tuple[Input, str, str]:
        value = self.values.get(one.name, one.choices[0][0] if one.choices else "")
        return one, f"{one.name}-{self.offer.form}", value


def allowed_verbs(viewer: Viewer, escalation: Escalation) -> list[Verb]:
    """What the viewer may do with an escalation as it is now."""
    return [verb for verb in _TABLE if verb.allows(viewer, escalation.state, escalation.owner_id)]


def offered(
    viewer: Viewer,
    escalation: Escalation,
    *,
    without: Collection[str] = (),
    values: Mapping[str, Mapping[str, str]] | None = None,
) -> list[Offered]:
    """What the case page offers: the allowed verbs and, locked, those that a claim would allow; none of `without`.

    Of a decision, what the agent allows, in its order. `values`: form -> what it is filled with.
    """
    allowed = allowed_verbs(viewer, escalation)
    made: list[Offered] = []
    for verb in _TABLE:
        is_locked = verb not in allowed
        if verb.name in without or (is_locked and not _awaits_claim(verb, viewer, escalation)):
            continue
        for offer in [OFFERS[name] for name in escalation.allowed] if verb.name == "decide" else verb.offers:
            if is_locked and offer.place == "warning":
                continue
            is_primary = not is_locked and offer.place == "main" and not any(one.is_primary for one in made)
            filled = (values or {}).get(offer.form, {})
            made.append(Offered(verb, offer, escalation, is_locked, is_primary, filled))
    return made


def _awaits_claim(verb: Verb, viewer: Viewer, escalation: Escalation) -> bool:
    is_open = escalation.state in (QUEUED, *IN_PROGRESS)
    return verb.who is Who.OWNER and is_open and verb.allows(viewer, CLAIMED, viewer.membership)


def require(viewer: Viewer, escalation: Escalation, name: str) -> str:
    """The state of a locked escalation after the verb `name`. Raises Conflict: not_owner, wrong_state.

    A verb for the owner alone first refuses all others; the rest first refuse the state.
    """
    verb = VERBS[name]
    is_for = verb.is_for(viewer, escalation.owner_id)
    if verb.who is Who.OWNER and not is_for:
        raise _not_owner(viewer, escalation)
    after = next_state(name, escalation.state)
    if not is_for:
        raise _not_owner(viewer, escalation)
    return after


def _not_owner(viewer: Viewer, escalation: Escalation) -> Conflict:
    words = "Claim this escalation first."
    if escalation.owner:
        words = f"{escalation.owner.name} has claimed this escalation."
    elif escalation.ended_for == viewer.membership:
        words = "Your claim has ended, and the escalation is back in the queue. Claim it again to continue."
    return taken(Code.NOT_OWNER, words, escalation)


def taken(code: Code, words: str, escalation: Escalation) -> Conflict:
    """The refusal of what its owner alone may do: with who has the escalation, since when and in which version."""
    return Conflict(
        code,
        words,
        owner=escalation.owner.name if escalation.owner else None,
        since=escalation.claimed_at,
        state=escalation.state,
        version=escalation.version,
    )
