"""manage.py first_run: an administrator, and either the demo team or a first empty one. Idempotent."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.core.management.base import BaseCommand, CommandParser

from agents.actions import agents, keys
from agents.keys import digest_of
from agents.models import DEFAULT_SCOPES, ApiKey
from escalations.actions.escalate import DEFAULT_QUEUE
from escalations.models import Queue
from memoryhub.core.access.delegation import installers
from memoryhub.core.actions import memberships, people, teams
from memoryhub.core.management.arguments import installation, new_password, refusals
from memoryhub.core.models import SYSTEM_TEAM, Actor, Membership, PasswordOrigin, Role, Sensitivity, Team
from memoryhub.core.transactions import viewer_transaction
from memoryhub.core.viewers import Viewer, system_viewer
from memoryhub.run.flags import wants_demo

ADMIN = "admin"


# Of the demo team: role, clearance, compartments, and what logins.txt says of them.
PEOPLE: dict[str, tuple[Role, Sensitivity, list[str], str]] = {
    "sam": (Role.SUPPORT, Sensitivity.INTERNAL, [], "support: claims and answers; sees public and internal"),
    "lee": (Role.LEAD, Sensitivity.CONFIDENTIAL, ["finance", "pii"], "lead: sees confidential, finance and pii, too"),
}
AGENTS: dict[str, tuple[Sensitivity, list[str], str, str]] = {
    "demo-intake": (Sensitivity.INTERNAL, [], "intake", "Simulated: opens a task for each customer"),
    "demo-research": (Sensitivity.INTERNAL, [], "research", "Simulated: finds out what happened"),
    "demo-returns": (Sensitivity.INTERNAL, [], "returns", "Simulated: decides about returns"),
    "demo-fraud": (Sensitivity.CONFIDENTIAL, ["finance"], "fraud", "Simulated: looks into payments"),
}


class Command(BaseCommand):
    help = (
        "Make the first administrator, and the demo team with its people and agents (DEMO=0: an empty team `main`). "
        "Passwords and keys are written into the data folder, for its owner only."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--data", type=Path, metavar="DIR", default=settings.DATA, help="where logins.txt and demo-keys.json go"
        )

    def handle(self, *args: Any, data: Path | str, **options: Any) -> None:
        data = Path(data)
        logins = _Logins(data / "logins.txt")
        logins.drop_changed()
        with refusals():
            admin = _administrator(logins)
            if wants_demo():
                _demo(admin, logins, data / "demo-keys.json")
            elif not Team.objects.exclude(slug=SYSTEM_TEAM).exists():
                _team("main", "Main", admin, [])
        if options["verbosity"] > 0:
            for line in logins.lines.values():
                self.stdout.write(line)


class _Logins:
    """logins.txt: one line per person, written before the account is created, so that no password is ever lost.

    A line is removed when its password is no longer valid, the file with its last line.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        self.lines = {line.split()[0]: line for line in lines if len(line.split()) >= 2}

    def drop_changed(self) -> None:
        """Remove the lines whose password has been changed."""
        accounts = Actor.objects.filter(username__in=self.lines).values_list("username", "password")
        changed = {name for name, password in accounts if not check_password(self.lines[name].split()[1], password)}
        if changed:
            self.lines = {name: line for name, line in self.lines.items() if name not in changed}
            self._write()

    def account(self, username: str, role_text: str, *, administers: bool = False) -> Actor:
        """The person's account, created when there is none."""
        found = Actor.objects.filter(username=username).first()
        if found is not None:
            return found
        password = new_password()
        self.lines[username] = f"{username:<8}{password:<24}{role_text}"
        self._write()
        return people.add(
            installation(),
            username=username,
            password=password,
            is_staff=administers,
            origin=PasswordOrigin.GENERATED,
            is_demo=wants_demo(),
        )

    def _write(self) -> None:
        if self.lines:
            _write_private(self.file, "".join(f"{line}\n" for line in self.lines.values()))
        else:
            self.file.unlink(missing_ok=True)


def _administrator(logins: _Logins) -> Actor:
    """The installation's administrator: the existing one, else a new `admin`."""
    found = installers().filter(actor__is_active=True).select_related("actor").order_by("actor_id").first()
    if found is not None:
        return found.actor
    role_text = "administrator: teams, people, agents and keys, at /admin/"
    if not wants_demo():
        role_text += " (the first sign-in asks for a password of your own)"
    admin = logins.account(ADMIN, role_text, administers=True)
    _join(installation(), admin, Role.ADMIN, Sensitivity.CONFIDENTIAL, [])
    return admin


def _demo(admin: Actor, logins: _Logins, file: Path) -> None:
    # All compartments of the demo: members cannot widen their own rights, and the access log needs a reader.
    viewer = _team("demo", "Demo shop", admin, ["finance", "pii"])
    for username, (role, clearance, compartments, role_text) in PEOPLE.items():
        _join(viewer, logins.account(username, role_text), role, clearance, compartments)
    known = _read_keys(file)
    for name, (clearance, compartments, group, description) in AGENTS.items():
        member = Membership.objects.filter(team_id=viewer.team, name=name).first()
        if member is None:
            member = agents.add(
                viewer,
                name=name,
                clearance=clearance,
                compartments=compartments,
                group=group,
                description=description,
            ).membership
        if not _has_key(member, known.get(name)):
            # The file before COMMIT: in the other order, a key could be valid that nobody has.
            with viewer_transaction(viewer):
                _, known[name] = keys.issue(viewer, member=member, scopes=DEFAULT_SCOPES, name="first_run")
                _write_private(file, json.dumps(known, indent=2) + "\n")


def _has_key(member: Membership, key: str | None) -> bool:
    """Whether the file's key is this agent's. A revoked key and an inactive agent count: both are deliberate."""
    if not member.is_active:
        return True
    digest = digest_of(key) if key else None
    return digest is not None and ApiKey.objects.filter(membership=member, digest=digest).exists()


def _read_keys(file: Path) -> dict[str, str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(key) for name, key in found.items()} if isinstance(found, dict) else {}


def _team(slug: str, name: str, admin: Actor, compartments: list[str]) -> Viewer:
    """The team's system viewer. A missing team is created, with its queue and administrator."""
    team = Team.objects.filter(slug=slug).first() or teams.add(installation(), slug=slug, name=name)
    viewer = system_viewer(team.id)
    if not Membership.objects.filter(team=team, role=Role.ADMIN).exists():
        with viewer_transaction(viewer):
            Queue.objects.get_or_create(team_id=viewer.team, name=DEFAULT_QUEUE)
        _join(viewer, admin, Role.ADMIN, Sensitivity.CONFIDENTIAL, compartments)
    return viewer


def _join(viewer: Viewer, actor: Actor, role: str, clearance: int, compartments: list[str]) -> None:
    """Add a member, unless they are one already, whatever their rights by now."""
    if not Membership.objects.filter(team_id=viewer.team, actor=actor).exists():
        memberships.add(
            viewer, actor=actor, name=actor.username, role=role, clearance=clearance, compartments=compartments
        )


def _write_private(file: Path, text: str) -> None:
    """Replace the file atomically, readable by its owner only."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # created 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
