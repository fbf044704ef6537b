#!/usr/bin/env python
"""Run a management command: `python manage.py help`."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from memoryhub.config import env

if __name__ == "__main__":
    env.allow_owner()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
    os.environ.setdefault("STATEMENT_SECONDS", "600")  # an index that is made anew takes its time
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except OperationalError as error:
        sys.exit(f"The database does not answer; is `make run` running? ({str(error).splitlines()[0]})")
