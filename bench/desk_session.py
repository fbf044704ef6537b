"""A signed-in person of the bench's team: `python -m bench.desk_session` prints team, cookie and the ledger's head."""

import json
import os
from importlib import import_module

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: E402

from memoryhub.core.actions import memberships, people  # noqa: E402
from memoryhub.core.ledger.events import read_ledger  # noqa: E402
from memoryhub.core.models import SYSTEM_TEAM, PasswordOrigin, Role, Sensitivity, Team  # noqa: E402
from memoryhub.core.viewers import system_viewer  # noqa: E402

team = Team.objects.exclude(slug=SYSTEM_TEAM).get()
installation = system_viewer(Team.objects.get(slug=SYSTEM_TEAM).id)
person = people.add(installation, username="desk", password="not typed by anybody", origin=PasswordOrigin.OWN)
memberships.add(system_viewer(team.id), actor=person, name="desk", role=Role.SUPPORT, clearance=Sensitivity.INTERNAL)
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(person.id)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = person.get_session_auth_hash()
session.save(must_create=True)
cookie = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
print(json.dumps({"team": team.slug, "cookie": cookie, "after": read_ledger(system_viewer(team.id)).head}))
