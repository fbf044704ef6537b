"""The HTTP side: everything but sockets and long polls."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")

application = get_wsgi_application()
