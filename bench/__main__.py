"""`python -m bench [--long] [name …]`: measure, print the table, write bench/results. Not a test: a missed goal fails
nothing.
"""

import argparse
import sys
import time
from collections.abc import Callable

from bench import (
    clock,
    p01_post,
    p02_list,
    p03_batch,
    p04_facts,
    p05_writers,
    p06_leases,
    p07_search,
    p09_questions,
    p10_fanout,
    p10_rate,
    p11_screen,
    p12_escalate,
    p13_case,
    p14_package,
    p23_insights,
    versions,
)
from bench.measure import LONG, SHORT, Length, Line, Result, machine, show, write
from bench.stack import Stack, stack

MEASUREMENTS: dict[str, Callable[[Stack, Length], Result]] = {
    "p1": p01_post.measure,
    "p2": p02_list.measure,
    "p3": p03_batch.measure,
    "p4": p04_facts.measure,
    "p5": p05_writers.measure,
    "p6": p06_leases.measure,
    "p7": p07_search.measure,
    "p9": p09_questions.measure,
    "p10": p10_fanout.measure,
    "p10rate": p10_rate.measure,
    "p11": p11_screen.measure,
    "p12": p12_escalate.measure,
    "p13": p13_case.measure,
    "p14": p14_package.measure,
    "p23": p23_insights.measure,
    "clock": clock.measure,
    "versions": versions.measure,
}


def main() -> int:
    """Run the named measurements, or all. The exit status shows only whether measuring itself succeeded."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="memoryhub beside its baselines")
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(MEASUREMENTS)}; all without one")
    parser.add_argument("--long", action="store_true", help="more and longer rounds, for figures to publish")
    given = parser.parse_args()
    if unknown := set(given.names) - set(MEASUREMENTS):
        parser.error(f"unknown measurement: {', '.join(sorted(unknown))}")
    length = LONG if given.long else SHORT
    facts = machine()
    lines: list[Line] = []
    with stack() as servers:
        for name in given.names or [name for name in MEASUREMENTS if name != "versions"]:
            begun = time.monotonic()
            sys.stdout.write(f"{name} …\n")
            sys.stdout.flush()
            result = MEASUREMENTS[name](servers, length)
            path = write(result, facts)
            sys.stdout.write(f"{name}: {time.monotonic() - begun:.0f} s, written to bench/results/{path.name}\n")
            lines += result.lines
    show(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
