"""Teams: add, change. The installation's administrators do this, in the ledger of the team `system`."""

from typing import Any

from memoryhub.core.access.permissions import ADMINS, action
from memoryhub.core.actions.administration import record
from memoryhub.core.errors import Code, Conflict, Invalid
from memoryhub.core.models import Actor, ActorKind, DecisionsChangedBy, Membership, Role, Sensitivity, Team
from memoryhub.core.secrecy.sealing import make_team_key
from memoryhub.core.viewers import Viewer

RULES = ("name", "tell_withheld", "acknowledge_hours", "feed_days", "decisions_changed_by")


@action("team.add", roles=ADMINS, in_installation=True)
def add(viewer: Viewer, *, slug: str, name: str) -> Team:
    """A new team with its data key; a person who adds it becomes its first administrator, cleared for all levels.

    Raises Conflict (already_exists) when the slug is taken, Forbidden outside the installation's team.
    """
    if Team.objects.filter(slug=slug).exists():
        raise Conflict(Code.ALREADY_EXISTS, f"A team {slug!r} exists already.")
    team = Team.objects.create(slug=slug, name=name)
    system = Actor.objects.get(kind=ActorKind.SYSTEM)
    Membership.objects.create(
        actor=system, team=team, name="memoryhub", role=Role.SYSTEM, clearance=Sensitivity.CONFIDENTIAL
    )
    data: dict[str, Any] = {"name": name}
    if viewer.is_human:
        first = Membership.objects.create(
            actor_id=viewer.actor, team=team, name=viewer.name, role=Role.ADMIN, clearance=Sensitivity.CONFIDENTIAL
        )
        data |= {"membership": str(first.id), "role": first.role, "clearance": first.clearance}
    make_team_key(team.id)
    _record(viewer, "team.add", team, **data)
    return team


@action("team.change", roles=ADMINS, in_installation=True)
def change(
    viewer: Viewer,
    *,
    team: Team,
    name: str | None = None,
    tell_withheld: bool | None = None,
    acknowledge_hours: int | None = None,
    feed_days: int | None = None,
    decisions_changed_by: str | None = None,
) -> Team:
    """Change a team's name or rules; what is not given stays as it is. Hours within 1..720, days within 1..3650.

    `decisions_changed_by`: which agents may supersede, revoke and judge another's decision. Raises Invalid past the
    bounds. What was there before is in the event.
    """
    was = Team.objects.select_for_update(no_key=True).values(*RULES).get(id=team.id)
    given = zip(RULES, (name, tell_withheld, acknowledge_hours, feed_days, decisions_changed_by), strict=True)
    rules = was | {rule: value for rule, value in given if value is not None}
    if not 1 <= rules["acknowledge_hours"] <= 720 or not rules["name"].strip():
        raise Invalid("A team has a name, and 1 to 720 hours to acknowledge.")
    if not 1 <= rules["feed_days"] <= 3650:
        raise Invalid("A team's feed goes back 1 to 3650 days.")
    if rules["decisions_changed_by"] not in DecisionsChangedBy.values:
        raise Invalid(f"Decisions are changed by one of {', '.join(DecisionsChangedBy.values)}.")
    for rule, value in rules.items():
        setattr(team, rule, value)
    team.save(update_fields=list(rules))
    _record(viewer, "team.change", team, **rules, before={key: was[key] for key in rules if was[key] != rules[key]})
    return team


@action("team.add_key", roles=(), in_installation=True)
def add_key(viewer: Viewer, *, team: Team) -> None:
    """Another data key, which seals what the team writes from now on."""
    make_team_key(team.id)
    _record(viewer, "team.add_key", team)


@action("team.erase_keys", roles=(), in_installation=True)
def erase_keys(viewer: Viewer, *, team: Team) -> None:
    """Record that the team's data keys are being erased, which only the owner of the database can do."""
    _record(viewer, "team.erase_keys", team)


@action("team.rewrap_keys", roles=(), in_installation=True)
def rewrap_keys(viewer: Viewer, *, master: str) -> None:
    """Record that all data keys are being wrapped by this master key, which only the owner of the database can do."""
    record(viewer, "team.rewrap_keys", None, master=master)


def _record(viewer: Viewer, verb: str, team: Team, **data: Any) -> None:
    record(viewer, verb, None, team=team.slug, **data)
