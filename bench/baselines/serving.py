"""The web processes that are compared, each a single process on a loopback port."""

import sys

from memoryhub.run.launch import web_command

_UVICORN = ("--host", "127.0.0.1", "--log-level", "warning", "--no-access-log", "--no-server-header")


def product(port: int) -> list[str]:
    """The product, with the very command that `make run` uses."""
    return web_command(port)


def stock_drf(port: int) -> list[str]:
    """The stock endpoint, in the product's server arrangement."""
    return [sys.executable, "-m", "uvicorn", "bench.baselines.stock_drf:application", "--port", str(port), *_UVICORN]


def fastapi_plain(port: int) -> list[str]:
    """FastAPI under one uvicorn worker, with its faster loop and parser (uvloop, httptools)."""
    return [sys.executable, "-m", "uvicorn", "bench.baselines.fastapi_plain:app", "--port", str(port), *_UVICORN]


def fastapi_same(port: int) -> list[str]:
    """FastAPI likewise, doing what the product does."""
    return [sys.executable, "-m", "uvicorn", "bench.baselines.fastapi_same:app", "--port", str(port), *_UVICORN]


def channels(port: int) -> list[str]:
    """Channels' own layer, under one uvicorn worker."""
    application = "bench.baselines.channels_fanout:application"
    return [sys.executable, "-m", "uvicorn", application, "--port", str(port), *_UVICORN]
