"""Django REST framework's authentication, throttle and permission: the key (401), its rate (429), its scope (403)."""

from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from agents.authentication import authenticate
from agents.limits import spend
from memoryhub.core.access.permissions import require_scope
from memoryhub.core.viewers import Viewer


class KeyAuthentication(BaseAuthentication):
    """Turns a bearer key (RFC 6750) into a viewer, as `request.user`."""

    def authenticate(self, request: Request) -> tuple[Viewer, Any]:
        meta = request._request.META
        viewer = authenticate(meta.get("HTTP_AUTHORIZATION"), meta["HUB_REQUEST_ID"])
        return viewer, viewer.credential


def viewer_of(request: Request) -> Viewer:
    """The viewer of the request's key."""
    found: Any = request.user
    assert isinstance(found, Viewer)
    return found


class KeyThrottle(BaseThrottle):
    """Counts the request against its key's rate limit; sets the response's RateLimit headers. Raises RateLimited."""

    def allow_request(self, request: Request, view: Any) -> bool:
        view.limits = spend(view.viewer)
        return True


class HasScope(BasePermission):
    """Requires the scope of the door's method. Raises Forbidden."""

    def has_permission(self, request: Request, view: Any) -> bool:
        require_scope(view.viewer, view.scope_of(str(request.method)))
        return True
