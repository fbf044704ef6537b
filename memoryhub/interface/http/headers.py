"""Request headers that doors check: host and scheme, media type, Idempotency-Key."""

import re

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from memoryhub.core.errors import Forbidden, Invalid, UnsupportedMediaType

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def check_address(host: str, *, is_secure: bool) -> None:
    """Raises Invalid for a Host that is not ours, Forbidden for plain HTTP where HTTPS is required."""
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        raise Invalid("This host is not served here.")
    if settings.HTTPS and not is_secure:
        raise Forbidden("Use https: this request has crossed the network unencrypted.")


def check_media_type(content_type: str | None, content_encoding: str | None = None) -> None:
    """Raises UnsupportedMediaType unless a body is `application/json`, in UTF-8 and not encoded."""
    if content_encoding is not None:
        raise UnsupportedMediaType("A body with a Content-Encoding is not accepted.")
    if content_type == "application/json":
        return
    media_type, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    if media_type != "application/json" or any(
        parameter not in ("charset=utf-8", 'charset="utf-8"') for parameter in parameters
    ):
        raise UnsupportedMediaType(
            "The body must be application/json, in UTF-8.", headers={"Accept": "application/json"}
        )


def idempotency_key(header: str | None) -> str | None:
    """The Idempotency-Key, when one is sent: 1 to 255 visible ASCII characters. Raises Invalid."""
    if header is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(header):
        raise Invalid("An Idempotency-Key is 1 to 255 visible ASCII characters.")
    return header
