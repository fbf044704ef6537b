"""What keeps the project in order, each as a test: imports, style, types, templates, migrations, settings, dependencies."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers import ROOT

BIN = Path(sys.executable).parent
OURS = ("core", "memory", "escalations", "agents")


def run(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def manage(*words: str, **environment: str) -> str:
    return run(sys.executable, "manage.py", *words, **environment)


def test_imports_go_down_only() -> None:
    run(str(BIN / "lint-imports"), "--no-cache")


def test_style() -> None:
    run(str(BIN / "ruff"), "check", ".")
    run(str(BIN / "ruff"), "format", "--check", ".")


def test_types() -> None:
    run(str(BIN / "mypy"))


def test_templates_are_formatted() -> None:
    templates = [str(path) for path in ROOT.glob("**/templates/**/*.html") if ".venv" not in path.parts]
    run(str(BIN / "djade"), "--check", "--target-version", "5.2", *templates)


def test_models_and_migrations_agree() -> None:
    manage("makemigrations", "--check", "--dry-run", "--database", "owner") if False else manage("makemigrations", "--check")
