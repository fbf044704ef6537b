"""Structured logs: one JSON object a line (readable text with LOG_FORMAT=text), with the request id in each."""

import sys
from typing import Any

import structlog

from memoryhub.core.errors import describe


def _without_text(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace an exception's traceback, whose text may quote confidential rows, by names and places."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event |= describe(error)
    return event


_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _without_text,
]


def logging_config(level: str, form: str) -> dict[str, Any]:
    """A dictConfig for the standard library; also configures structlog. `form`: json or text."""
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=False) if form == "text" else structlog.processors.JSONRenderer()
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
                "foreign_pre_chain": _SHARED,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "uvicorn.access": {"level": "WARNING"},
            # It logs each sweep.
            "celery": {"level": "WARNING"},
            # These log each request that is sent.
            "httpx2": {"level": "WARNING"},
            "httpcore2": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
            # Statement logging would put content into the log.
            "django.db.backends": {"level": "WARNING"},
        },
    }
