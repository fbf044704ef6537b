"""Request headers that doors check: host and scheme, media type, Idempotency-Key."""

import re
from collections.abc import Sequence

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


JSON = "application/json"


def check_media_type(
    content_type: str | None,
    content_encoding: str | None = None,
    *,
    accepted: Sequence[str] = (JSON,),
    encodings: Sequence[str] = (),
) -> str:
    """A body's media type, which is one of `accepted`, in UTF-8, and encoded not at all or by one of `encodings`.

    Raises UnsupportedMediaType, which names what is accepted.
    """
    if content_encoding is not None and content_encoding.strip().lower() not in encodings:
        named = f"only the Content-Encoding {' or '.join(encodings)}" if encodings else "no Content-Encoding"
        raise UnsupportedMediaType(
            f"A body may have {named} here.", headers={"Accept-Encoding": ", ".join(encodings) or "identity"}
        )
    if content_type == JSON:
        return JSON
    media_type, *parameters = [part.strip().lower() for part in (content_type or "").split(";")]
    if media_type not in accepted or any(
        parameter not in ("charset=utf-8", 'charset="utf-8"') for parameter in parameters
    ):
        named = " or ".join(accepted)
        raise UnsupportedMediaType(f"The body must be {named}, in UTF-8.", headers={"Accept": ", ".join(accepted)})
    return media_type


def idempotency_key(header: str | None) -> str | None:
    """The Idempotency-Key, when one is sent: 1 to 255 visible ASCII characters. Raises Invalid."""
    if header is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(header):
        raise Invalid("An Idempotency-Key is 1 to 255 visible ASCII characters.")
    return header
