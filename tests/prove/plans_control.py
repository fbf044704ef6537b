"""The web process whose sessions let the planner choose sequential scans: the proof of plans must find that out."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
from django.conf import settings

options = settings.DATABASES["default"]["OPTIONS"]
options["options"] = options["options"].replace("-c enable_seqscan=off", "")

from memoryhub.config import asgi  # noqa: E402

application = asgi.application
