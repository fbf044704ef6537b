"""A request's head, as the event loop reads it before a thread is taken: how much it is, and who seems to ask."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from memoryhub.core.errors import HeadersTooLarge
from memoryhub.interface.http.addresses import client_address, neighbourhood

Scope = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The headers by their names in lower case; of one that is repeated, the last."""

    scope: Scope
    headers: dict[bytes, bytes]

    @classmethod
    def of(cls, scope: Scope) -> "Head":
        """Raises HeadersTooLarge: other servers than ours (interface.server.protocol) may let more through."""
        headers = scope["headers"]
        if sum([len(name) + len(value) for name, value in headers]) + 4 * len(headers) > settings.HEADER_BYTES:
            raise HeadersTooLarge(f"The headers may have at most {settings.HEADER_BYTES} bytes.")
        return cls(scope, dict(headers))

    @property
    def address(self) -> str:
        """What counts as the client's address; empty where the server does not know it."""
        client = self.scope.get("client")
        told = [value.decode("latin-1") for name, value in self.scope["headers"] if name == b"x-forwarded-for"]
        return neighbourhood(client_address(client[0] if client else "", told))

    @property
    def length(self) -> int | None:
        """How many bytes the body is said to have; None when that is not said."""
        told = self.headers.get(b"content-length", b"")
        return int(told) if told.isdigit() else None

    @property
    def has_body(self) -> bool:
        return bool(self.length) or b"transfer-encoding" in self.headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, by a plain cut at each semicolon: enough to find one of ours."""
        pairs = (pair.partition("=") for pair in self.headers.get(b"cookie", b"").decode("latin-1").split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def wants_page(self) -> bool:
        """Whether a person sees the answer."""
        accepts = self.headers.get(b"accept", b"")
        return (
            not self.scope["path"].startswith("/api/") and b"text/html" in accepts and b"hx-request" not in self.headers
        )
