"""Bring the database and the static files up to date, in one process, since each start of Django takes a second.

`python -m memoryhub.config.prepare [--empty]`, with the environment set. Idempotent, and quick when repeated.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections

from memoryhub.config import env
from memoryhub.run import steps
from memoryhub.run.frontend import install_frontend


def migrate() -> None:
    """Apply missing migrations, as the owner, and begin a new life of the ledgers where the server has changed
    (ADR 10). Raises ImproperlyConfigured when it would not be safe to serve.
    """
    from memoryhub.core.actions.lives import Behind, follow_the_server
    from memoryhub.core.checks import refuse_unsafe_start

    call_command("migrate", database="owner", verbosity=0, interactive=False)
    connections["owner"].close()
    with suppress(Behind):  # the checks report it
        follow_the_server()
    refuse_unsafe_start()


def first_people() -> None:
    """Create the first people, if missing. Raises ImproperlyConfigured when a password made for them is not safe."""
    from memoryhub.core.checks import refuse_unsafe_start

    call_command("first_run", data=str(env.DATA), verbosity=0)
    refuse_unsafe_start()


def collect_static(data: Path) -> None:
    """Collect, hash and compress the static files, unless nothing has changed since the last time."""
    stamp = data / "static.stamp"
    digest = _static_digest(data)
    if stamp.is_file() and stamp.read_text() == digest and settings.STATIC_ROOT.is_dir():
        return
    call_command("collectstatic", verbosity=0, interactive=False, clear=True)
    stamp.write_text(digest)


def _static_digest(data: Path) -> str:
    """A digest of the files to collect: ours by name, size and time, those of packages by the pinned versions."""
    inputs = [settings.ROOT / "requirements.txt"]
    for folder in (data / "frontend", settings.ROOT / "static"):
        inputs += folder.rglob("*")
    digest = hashlib.sha256(repr(settings.STORAGES["staticfiles"]).encode())
    for path in sorted(inputs):
        if path.is_file():
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def main() -> None:
    """Run all steps, a line each; with `--empty` without the first people."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    env.allow_owner()
    install_frontend(env.DATA)  # first: the settings name the folder only where it exists
    django.setup()
    todo: list[tuple[str, Callable[[], object]]] = [
        ("database up to date", migrate),
        ("static files", lambda: collect_static(env.DATA)),
    ]
    if "--empty" not in sys.argv:
        todo.append(("first people and agents", first_people))
    for name, do in todo:
        with steps.step(name):
            do()


if __name__ == "__main__":
    try:
        main()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
