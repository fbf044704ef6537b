"""`python -m agents.demo`: run the simulated agents until a signal.

MEMORYHUB_URL: the hub's address (default: port $PORT or 8000 of this machine). MEMORYHUB_DATA: the folder with
`demo-keys.json`, {agent name: API key}, which `manage.py first_run` writes. DEMO_PACE: a factor of all pauses (default
1; 0.1 is ten times as fast). DEMO_SEED: a number that makes the agents draw the same cases again.
"""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx2

from agents.demo.client import DemoClient, KeyRefused
from agents.demo.workers import LONG_POLL_SECONDS, Fraud, Intake, Research, Returns, Worker

TEAM: dict[str, type[Intake | Worker]] = {
    "demo-intake": Intake,
    "demo-research": Research,
    "demo-returns": Returns,
    "demo-fraud": Fraud,
}


class CannotRun(Exception):
    """The text is a sentence for the person at the terminal."""


@dataclass(frozen=True)
class Settings:
    """The settings from the environment."""

    url: str
    keys: dict[str, str]
    pace: float
    seed: int


def read_settings() -> Settings:
    """The settings of this process. Raises CannotRun."""
    root = Path(__file__).resolve().parents[2]
    path = Path(os.environ.get("MEMORYHUB_DATA") or root / ".data") / "demo-keys.json"
    url = os.environ.get("MEMORYHUB_URL") or f"http://127.0.0.1:{os.environ.get('PORT') or 8000}"
    try:
        keys = {name: key for name, key in json.loads(path.read_text()).items() if name in TEAM}
        pace, seed = float(os.environ.get("DEMO_PACE") or 1), int(os.environ.get("DEMO_SEED") or time.time())
    except OSError as error:
        raise CannotRun(f"{path} cannot be read ({error.strerror}); `manage.py first_run` writes it.") from None
    except (ValueError, AttributeError) as error:
        raise CannotRun(f"{path}, DEMO_PACE or DEMO_SEED is not valid: {error}.") from None
    if not keys:
        raise CannotRun(f"{path} has no key for any of {', '.join(TEAM)}.")
    return Settings(url, keys, max(pace, 0.01), seed)


async def run(settings: Settings) -> None:
    """Run all agents until they are cancelled, or the last one's key is refused."""
    limits = httpx2.Limits(max_connections=None)  # every long poll holds one
    timeout = httpx2.Timeout(15, read=LONG_POLL_SECONDS + 15)
    async with httpx2.AsyncClient(base_url=settings.url, timeout=timeout, limits=limits) as http:
        agents = [
            TEAM[name](DemoClient(http, name, key), settings.seed, settings.pace) for name, key in settings.keys.items()
        ]
        await asyncio.gather(*(work(agent) for agent in agents))


async def work(agent: Intake | Worker) -> None:
    """Run one agent until its key is refused."""
    try:
        await agent.run()
    except* KeyRefused:
        agent.say("stops, since its key is refused: it was revoked, has expired, or belongs to another hub.")


async def main() -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    try:
        settings = read_settings()
    except CannotRun as error:
        print(f"The demo does not start: {error}", flush=True)
        return 1
    working = asyncio.ensure_future(run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, working.cancel)
    try:
        await working
    except asyncio.CancelledError:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
