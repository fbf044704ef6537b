"""Signing in without a browser: as a session, as Django's test client, and by the form over HTTP.

In a browser: desk_pages.
"""

from importlib import import_module
from typing import Any

import httpx2
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.test import Client

from memoryhub.core.models import Actor
from tests.support.clients import new_client
from tests.support.factories import PASSWORD, Person

BACKEND = "memoryhub.core.people.PeopleBackend"


def sign_in(person: Person) -> str:
    """The key of a new session of this person, as signing in makes it."""
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(person.actor.id)
    session[BACKEND_SESSION_KEY] = BACKEND
    session[HASH_SESSION_KEY] = person.actor.get_session_auth_hash()
    session.save(must_create=True)
    return str(session.session_key)


def client_of(actor: Actor, **options: Any) -> Client:
    """A test client in which this account is signed in; options as of Django's Client."""
    client = new_client(**options)
    client.force_login(actor, backend=BACKEND)
    return client


def post_login(client: httpx2.Client, username: str, password: str = PASSWORD) -> httpx2.Response:
    """Send the sign-in page's form; the client has loaded the page before."""
    form = {"username": username, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    return client.post("/login/", data=form)
