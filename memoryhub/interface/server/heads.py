"""A request's head, as the event loop reads it before a thread is taken: its size, and the claimed caller."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from memoryhub.core.errors import HeadersTooLarge
from memoryhub.interface.http.addresses import client_address, neighbourhood

Scope = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """The headers by lower-case name; of a repeated one, the last."""

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
        """The client's address, as budgets count it; empty where the server does not know it."""
        client = self.scope.get("client")
        header = [value.decode("latin-1") for name, value in self.scope["headers"] if name == b"x-forwarded-for"]
        return neighbourhood(client_address(client[0] if client else "", header))

    @property
    def length(self) -> int | None:
        """The Content-Length; None without a valid one."""
        header = self.headers.get(b"content-length", b"")
        return int(header) if header.isdigit() else None

    @property
    def has_body(self) -> bool:
        return bool(self.length) or b"transfer-encoding" in self.headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, split at each semicolon: enough to find one of ours."""
        pairs = (pair.partition("=") for pair in self.headers.get(b"cookie", b"").decode("latin-1").split(";"))
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def wants_page(self) -> bool:
        """Whether the response is for a person: a page."""
        accepts = self.headers.get(b"accept", b"")
        return (
            not self.scope["path"].startswith("/api/") and b"text/html" in accepts and b"hx-request" not in self.headers
        )
