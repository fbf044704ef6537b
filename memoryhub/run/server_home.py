"""The embedded servers' folder, and the account that they run as.

Started by an ordinary user: that user, in `<data>/servers`. Started by root, as which PostgreSQL refuses to run: the
system user `memoryhub`, under /var/lib/memoryhub, with copies of the programs, so that it can enter no folder of ours.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYSTEM_USER = "memoryhub"
SYSTEM_HOME = Path("/var/lib/memoryhub")
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
LOG_BYTES = 5_000_000  # a longer log is rotated at the next start, replacing the one before


class CannotStart(Exception):
    """The servers cannot be started; the text is a sentence for the person at the terminal."""


@dataclass(frozen=True)
class Home:
    """The servers' folder and, when we are root, the account that they run as."""

    folder: Path
    logs: Path
    account: pwd.struct_passwd | None

    def program(self, package: str, inside: str) -> str:
        """The path of a program from a wheel. Raises CannotStart when the wheel is not installed."""
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise CannotStart(f"The Python package {package} is missing: run `make setup`.")
        site = Path(spec.origin).parents[1]
        if self.account is None:
            return str(site / package / inside)
        copy = SYSTEM_HOME / "programs" / f"{package}-{importlib.metadata.version(package)}"
        if not copy.is_dir():
            _copy_open([site / package, site / f"{package}.libs"], copy)
        return str(copy / package / inside)

    def own(self, name: str) -> Path:
        """A folder in this home that only the servers' account may enter, created if missing."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if self.account is not None:
            os.chown(folder, self.account.pw_uid, self.account.pw_gid)
        return folder

    def spawn(self, command: list[str], name: str, text: str = "") -> subprocess.Popen[bytes]:
        """Start a server in the folder `name`, with `text` on its standard input and its output in `<logs>/<name>.log`.

        It gets a session of its own, so that the terminal's Ctrl-C reaches only the launcher.
        """
        log = self.logs / f"{name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as output:
            server = subprocess.Popen(
                command,
                cwd=self.folder / name,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                **self._apart(),
            )
        assert server.stdin is not None
        with server.stdin as stdin:
            stdin.write(text.encode())
        return server

    def run(self, command: list[str], text: str = "") -> None:
        """Run a program to its end, `text` on its standard input. Raises CannotStart, with its output, if it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._apart(),
        )
        if done.returncode != 0:
            raise CannotStart(f"{Path(command[0]).name} failed: {done.stdout.strip()[-600:]}")

    def _apart(self) -> dict[str, Any]:
        """How its processes are started: as its account, in a session and with an environment of their own."""
        apart: dict[str, Any] = {"env": ENVIRONMENT, "start_new_session": True, "umask": 0o077}
        if self.account is not None:
            apart |= {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}
        return apart


def make_home(data: Path, say: Callable[[str], object]) -> Home:
    """The home of this data directory's servers, created if missing; as root, `<data>/servers` is a link to it.

    Raises CannotStart where the data directory was set up by another kind of user.
    """
    link = data / "servers"
    logs = data / "log"
    logs.mkdir(mode=0o700, exist_ok=True)
    account = _account()
    if account is None:
        if link.is_symlink():
            raise CannotStart(f"{data} was set up by root: run as root, or set MEMORYHUB_DATA to another folder.")
        link.mkdir(mode=0o700, exist_ok=True)
        return Home(link, logs, None)
    if link.is_dir() and not link.is_symlink():
        raise CannotStart(
            f"{data} was set up by the user {link.owner()}: run as them, or set MEMORYHUB_DATA to another folder."
        )
    folder = system_folder(data)
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(folder)
        say(f"PostgreSQL refuses to run as root: it runs as the user {account.pw_name}, with its files in {folder}")
    return Home(folder, logs, account)


def system_folder(data: Path) -> Path:
    """Where root keeps the servers of this data directory."""
    return SYSTEM_HOME / hashlib.sha256(str(data).encode()).hexdigest()[:16]


def _account() -> pwd.struct_passwd | None:
    """The system user that the servers run as when we are root, created if missing; None otherwise."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--home-dir", str(SYSTEM_HOME)]
    try:
        subprocess.run([*command, "--shell", "/usr/sbin/nologin", SYSTEM_USER], check=True, capture_output=True)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise CannotStart(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made ({error}). "
            "Make it by hand, or run memoryhub as an ordinary user."
        ) from error


def _copy_open(folders: list[Path], target: Path) -> None:
    """Copy these folders into `target`, readable by all, atomically."""
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    for folder in folders:
        if folder.is_dir():
            shutil.copytree(folder, fresh / folder.name, symlinks=True)
    for path in (target.parent, fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    try:
        fresh.rename(target)
    except OSError:  # another start was faster
        shutil.rmtree(fresh)
