"""Compartments: add. Whoever makes one has it, and gives it to others by their memberships."""

from collections.abc import Iterable

from memoryhub.core.access.delegation import begin
from memoryhub.core.access.label_text import MOST_COMPARTMENTS, read_compartments
from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions.administration import record
from memoryhub.core.errors import Code, Conflict, Invalid
from memoryhub.core.models import Compartment, Membership
from memoryhub.core.viewers import Viewer


@action("compartment.add", roles=ADMINS)
def add(viewer: Viewer, *, name: str) -> Compartment:
    """A new compartment of the viewer's team, which its maker has from the next request on.

    `name`: 1 to 40 of the characters a-z 0-9 _ -. Raises Conflict (already_exists) when the team has it, Invalid for
    another word and for a maker who has 20 already.
    """
    begin(viewer)
    try:
        words = read_compartments(name)
    except ValueError as error:
        raise Invalid(str(error)) from error
    if len(words) != 1:
        raise Invalid("A compartment is one word.")
    [word] = words
    if Compartment.objects.filter(team_id=viewer.team, name=word).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"This team has the compartment {word!r} already.")
    maker = None
    if not viewer.is_system:
        maker = Membership.objects.get(id=viewer.membership)
        if len(maker.compartments) >= MOST_COMPARTMENTS:
            raise Invalid(f"You have {MOST_COMPARTMENTS} compartments, the most that a member can have.")
        maker.compartments = sorted({*maker.compartments, word})
        maker.save(update_fields=["compartments"])
    return _register(viewer, word, maker)


def register(viewer: Viewer, words: Iterable[str]) -> None:
    """Make those of the words that the team has not. The system's grants do; a person gives what they have."""
    wanted = set(words)
    known = Compartment.objects.filter(team_id=viewer.team, name__in=wanted).values_list("name", flat=True)
    for word in sorted(wanted.difference(known)):
        _register(viewer, word, None)


def _register(viewer: Viewer, word: str, maker: Membership | None) -> Compartment:
    made = Compartment.objects.create(team_id=viewer.team, name=word, maker=maker)
    # Under its own word: that there is such a compartment is for those who have it.
    given_to = str(maker.id) if maker else None
    record(viewer, "compartment.add", made.id, named=[word], compartment=word, given_to=given_to)
    return made
