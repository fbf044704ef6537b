"""The WSGI application: all HTTP but streams and long polls. It does not start with an unsafe login."""

import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from memoryhub.config import env

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "memoryhub.config.settings")

env.drop_owner()


class _PageHandler(WSGIHandler):
    """Django's handler, whose requests are freed after their responses."""

    def get_response(self, request: HttpRequest) -> HttpResponseBase:
        response = super().get_response(request)
        # Attributes that Django and others set on a request (user, messages, htmx) refer back to it: break the cycles.
        response._resource_closers.append(request.__dict__.clear)  # type: ignore[attr-defined]  # missing in the stubs
        return response


django.setup(set_prefix=False)
_pages = _PageHandler()

from django.conf import settings  # noqa: E402

from memoryhub.core.checks import refuse_unsafe_start  # noqa: E402  (its models need Django to be set up)

try:
    # On a thread: some servers import this inside their running event loop, where Django refuses the database.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(refuse_unsafe_start).result()
except ImproperlyConfigured as error:
    sys.exit(str(error))


class _ApiHandler(WSGIHandler):
    """Django's handler with the few layers that a program's request needs: no session, no form, no static file."""

    def __call__(  # type: ignore[override]  # WSGI asks for no more than the parts of the body
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve without Django's signals: their one receiver here, which closes connections, is called below."""
        request = self.request_class(environ)
        response = self.get_response(request)
        body = b"".join(response)
        request.__dict__.clear()
        connection.close_if_unusable_or_obsolete()
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return [body]

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain of settings.API_MIDDLEWARE, none of which looks at views, templates or exceptions."""
        chain = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]  # missing in the stubs
        for path in reversed(settings.API_MIDDLEWARE):
            chain = convert_exception_to_response(import_string(path)(chain))
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        self._middleware_chain = chain


_api = _ApiHandler()
_FOR_PROGRAMS = ("/api/", "/metrics")  # a probe knows no public host name
_FOR_PEOPLE = "/api/v1/docs"  # a page, which needs the pages' content security policy


def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    """The WSGI application."""
    path = environ.get("PATH_INFO", "")
    handler = _api if path.startswith(_FOR_PROGRAMS) and path != _FOR_PEOPLE else _pages
    return handler(environ, start_response)
