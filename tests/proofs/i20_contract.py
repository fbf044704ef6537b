"""I20: schemathesis over the running server, from the description that it serves, with all its checks."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support.servers import ROOT

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = Path(__file__).with_name("i20.toml")


class Run(NamedTuple):
    """How many cases were sent, the kinds of failures with their numbers, and all that was said."""

    cases: int
    failures: dict[str, int]
    words: str


def run(url: str, key: str, *options: str, config: Path = CONFIG) -> Run:
    """Send what the description at the address allows and forbids; options as of `schemathesis run`."""
    command = [SCHEMATHESIS, "--config-file", config, "run", f"{url}/api/v1/openapi.json", *options]
    done = subprocess.run(
        [*map(str, command), "-H", f"Authorization: Bearer {key}"],
        cwd=ROOT,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.proofs.i20_hooks", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    summary = done.stdout.rpartition("= SUMMARY =")[2]
    cases = re.search(r"([\d,]+) generated", summary)
    assert cases, done.stdout[-5000:]
    kinds = re.findall(r"(?:❌|🚫) ((?:ST\d+ )?[A-Z][^:\n]+): (\d+)", summary)
    found = {kind: int(number) for kind, number in kinds}
    assert bool(found) == bool(done.returncode), done.stdout[-5000:]
    return Run(int(cases[1].replace(",", "")), found, done.stdout)
