"""Celery: `celery -A memoryhub.config.celery worker` and `… beat`. It carries wake-ups, never state."""

import os

from celery import Celery
from celery.signals import beat_init, setup_logging, worker_init
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from memoryhub.config import env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
if not settings.configured:  # in a worker; a web process imports this too, and keeps its own
    os.environ.setdefault("STATEMENT_SECONDS", "600")  # pruning and indexing may take long; nobody waits for them
    os.environ.setdefault("PGAPPNAME", "memoryhub background")  # in pg_stat_activity

app = Celery("memoryhub")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["memoryhub.core", "memoryhub.memory", "memoryhub.memory.search", "escalations"])


@setup_logging.connect
def keep_our_logging(**_: object) -> None:
    """Keep Celery from setting up its own logging; Django's settings have done so already."""


@worker_init.connect
@beat_init.connect
def drop_owner(**_: object) -> None:
    """Drop the owner's login, which neither worker nor beat needs."""
    env.drop_owner()


@worker_init.connect
def refuse_unsafe_start(**_: object) -> None:
    """Refuse to start a worker with a login that row-level security does not bind."""
    from memoryhub.core import checks

    try:
        checks.refuse_unsafe_start()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from error
