"""The browsers that a person has signed in with: a signed cookie for each, so that no stranger can delay them."""

import secrets
from collections.abc import Mapping
from uuid import UUID

from django.conf import settings
from django.core.signing import BadSignature, TimestampSigner
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import salted_hmac

from memoryhub.core.models import Actor
from memoryhub.interface.http.addresses import client_address, neighbourhood

KNOWN_DAYS = 180
PREFIX, MOST_LOOKED_AT = "known_", 4  # of the cookies' names; how many of them are read
_signer = TimestampSigner(salt="memoryhub.known-browser")


def address_of(request: HttpRequest) -> str:
    """The request's address, as budgets count it."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    peer = request.META.get("REMOTE_ADDR", "")
    return neighbourhood(client_address(peer, [forwarded] if forwarded else []))


def browser_of(cookies: Mapping[str, str]) -> str | None:
    """The id of a browser with which anybody has signed in; None for an unknown one."""
    for value in [value for name, value in cookies.items() if name.startswith(PREFIX)][:MOST_LOOKED_AT]:
        try:
            return _signer.unsign(value, max_age=KNOWN_DAYS * 24 * 3600).partition(":")[2]
        except BadSignature:
            continue
    return None


def known_as(request: HttpRequest, username: str) -> str | None:
    """The browser's id where the person of this user name has signed in with it in the last 180 days; else None."""
    person, _, browser = _read(request, username).partition(":")
    if not browser:
        return None
    # The cookie names its person, so that another account that gets the user name later does not inherit it.
    found = Actor.objects.filter(username=username).values_list("id", flat=True).first()
    return browser if found is not None and found == UUID(person) else None


def remember(request: HttpRequest, response: HttpResponse, person: Actor) -> None:
    """Record that this person has signed in with this browser."""
    browser = known_as(request, person.username) or secrets.token_urlsafe(16)
    response.set_cookie(
        _cookie(person.username),
        _signer.sign(f"{person.id}:{browser}"),
        max_age=KNOWN_DAYS * 24 * 3600,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _read(request: HttpRequest, username: str) -> str:
    try:
        return _signer.unsign(request.COOKIES.get(_cookie(username), ""), max_age=KNOWN_DAYS * 24 * 3600)
    except BadSignature:
        return ""


def _cookie(username: str) -> str:
    # A cookie for each person, since several may share a browser; its name discloses no user name.
    return f"{PREFIX}{salted_hmac('memoryhub.known-browser', username).hexdigest()[:16]}"
