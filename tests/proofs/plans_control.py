"""The web process whose sessions may scan tables and keep their first plans: the proof of plans must find that out."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
from django.conf import settings

options = settings.DATABASES["default"]["OPTIONS"]
options["options"] = options["options"].replace("-c enable_seqscan=off", "")

from memoryhub.config import asgi  # noqa: E402
from memoryhub.core.db import pipeline  # noqa: E402

pipeline.FIRST_PLANS_SECONDS = pipeline.PLANS_SECONDS = 1e9

application = asgi.application
