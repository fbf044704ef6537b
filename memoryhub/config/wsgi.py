"""The HTTP side: everything but sockets and long polls. It does not start with a login that is not safe to serve as."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")

application = get_wsgi_application()

from memoryhub.core.checks import refuse_unsafe_login  # noqa: E402  (its models need Django to be set up)

try:
    refuse_unsafe_login()
except ImproperlyConfigured as error:
    sys.exit(str(error))
