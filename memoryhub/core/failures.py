"""An exception for the log without its text, which may quote what is confidential (psycopg quotes rows)."""

import traceback
from typing import Any


def describe(exc: BaseException) -> dict[str, Any]:
    """An exception for the log without its text, which may quote what is confidential: its causes' names, its place."""
    names: list[str] = []
    cause: BaseException | None = exc
    while cause is not None and len(names) < 5:
        names.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(exc.__traceback__)[-8:]
    return {"error": names, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}
