"""manage.py import_trajectories: recorded agent runs become tasks, observations, decisions and escalations."""

import argparse
import gzip
import sys
import time
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from agents.actions import agents
from agents.imports.envelopes import GZIP, read_sources
from agents.imports.steps import HANDOFF, Rules
from agents.imports.store import Options, Report, import_runs
from memoryhub.core import wake
from memoryhub.core.errors import HubError
from memoryhub.core.models import SYSTEM_TEAM, Membership, Role, Sensitivity, Team
from memoryhub.core.viewers import Viewer, system_viewer, viewer_of

AGENT = "recorded-agent"
LOG_EVERY_SECONDS = 5.0


def _opened(file: Path) -> BinaryIO:
    """The file, decompressed where it is gzip. Raises OSError."""
    with file.open("rb") as opened:
        is_gzip = opened.read(len(GZIP)) == GZIP
    return gzip.open(file) if is_gzip else file.open("rb")  # type: ignore[return-value]  # it has what we use


def _speed(text: str) -> float | None:
    number = float(text)
    if number != 0 and not 0.1 <= number <= 1000:
        raise argparse.ArgumentTypeError("messages per second: 0.1 to 1000, or 0 for as fast as possible")
    return number or None


class Command(BaseCommand):
    help = "Store recorded agent runs, with `messages` in OpenAI's chat format or Anthropic's. Idempotent."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="JSON lines, an array of runs, or one run; also as gzip")
        parser.add_argument("--team", metavar="SLUG", help="the team that gets them (optional if there is only one)")
        parser.add_argument("--agent", default=AGENT, metavar="NAME", help="the agent that did it, created if missing")
        parser.add_argument(
            "--speed", type=_speed, metavar="N", help="messages per second, to watch it live; 0: as fast as possible"
        )
        parser.add_argument(
            "--acting-tools",
            metavar="NAMES",
            help="tools whose calls are decisions: comma-separated names or patterns (book_*,cancel_order); by "
            "default all but get_*, list_*, search_*, find_*, calculate and think",
        )
        parser.add_argument("--handoff-tool", default=HANDOFF, metavar="NAME", help="the tool that asks for a person")
        parser.add_argument(
            "--prefix", default="", metavar="TEXT", help="a prefix of every task's key, to distinguish files"
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        patterns = [word.strip() for word in (options["acting_tools"] or "").split(",") if word.strip()]
        chosen = Options(Rules(tuple(patterns) or None, options["handoff_tool"]), options["prefix"], options["speed"])
        progress = _Progress(self, file)
        try:
            with _opened(file) as opened:
                report = import_runs(_agent(options["team"], options["agent"]), read_sources(opened), chosen, progress)
        except (OSError, EOFError, zlib.error) as error:
            raise CommandError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
        except HubError as error:
            raise CommandError(f"{file}: {error.detail.replace('The body', 'The file')}") from None
        except OperationalError as error:
            raise CommandError(f"The database is away; run this command again to continue. {error}".strip()) from None
        except KeyboardInterrupt:
            raise CommandError("Interrupted; run this command again to continue.", returncode=130) from None
        finally:
            wake.flush()
        progress.end(report)
        if report.faults:
            sys.exit(1)


def _agent(slug: str | None, name: str) -> Viewer:
    """The viewer of the team's agent of this name, created when missing. Raises CommandError."""
    team = _team(slug)
    found = Membership.objects.select_related("actor", "team").filter(team=team, name=name)
    if not found.exists():
        agents.add(
            system_viewer(team.id),
            name=name,
            clearance=Sensitivity.INTERNAL,
            compartments=[],
            description="Recorded runs that were imported",
        )
    member = found.get()
    if member.role != Role.AGENT or not (member.is_active and member.actor.is_active):
        raise CommandError(f"{name} is not an active agent of the team {team.slug}; choose another with --agent.")
    return viewer_of(member)


def _team(slug: str | None) -> Team:
    teams = list(Team.objects.exclude(slug=SYSTEM_TEAM).order_by("slug"))
    found = [team for team in teams if slug in (None, team.slug)]
    if len(found) != 1:
        known = ", ".join(team.slug for team in teams[:20]) or "none yet (manage.py add_team)"
        raise CommandError(f"{f'There is no team {slug}' if slug else 'Say which team with --team'}. Teams: {known}.")
    return found[0]


class _Progress:
    """Reports faults immediately, and progress: on a terminal in one changing line, in a log every few seconds."""

    def __init__(self, command: Command, file: Path) -> None:
        self.out, self.err, self.file = command.stdout, command.stderr, file
        self.begun = self.told_at = time.monotonic()
        self.reported = 0

    def __call__(self, report: Report) -> None:
        for fault in report.faults[self.reported :]:
            place = f"{self.file}:{fault.line}" if fault.line else str(self.file)
            self.err.write(f"{self._clear()}{place}: {fault.what}")
        self.reported = len(report.faults)
        if self.out.isatty():
            self.out.write(f"{self._clear()}{_counts(report)}", ending="")
            self.out.flush()
        elif time.monotonic() - self.told_at > LOG_EVERY_SECONDS:
            self.told_at = time.monotonic()
            self.out.write(_counts(report))
            self.out.flush()

    def end(self, report: Report) -> None:
        """The last line."""
        seconds = time.monotonic() - self.begun
        faults = f" {len(report.faults)} run(s) with faults, reported above." if report.faults else ""
        self.out.write(f"{self._clear()}{_counts(report)} {seconds:.1f} s.{faults}")

    def _clear(self) -> str:
        return "\r\033[K" if self.out.isatty() else ""


def _counts(report: Report) -> str:
    of = report.counts
    described = f" {of['described']} inline file(s) too large for a row: described there." if of["described"] else ""
    return (
        f"{of['runs']} runs, {of['complete']} of them there already; made {of['tasks']} tasks,"
        f" {of['observations']} observations, {of['decisions']} decisions, {of['escalations']} escalations.{described}"
    )
