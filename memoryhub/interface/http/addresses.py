"""A request's client address: the peer's, or what a trusted proxy says it is."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from django.conf import settings

Address = IPv4Address | IPv6Address


def client_address(peer: str, forwarded_for: Iterable[str] = ()) -> str:
    """The address of the client: `peer`, unless that is one of TRUSTED_PROXIES.

    `forwarded_for`: the values of X-Forwarded-For, in the order of their lines. They are read from the last entry back,
    as long as the sender of the entry is a trusted proxy; the rest is a client's claim, and is ignored.
    """
    found = _read(peer)
    if found is None:
        return peer  # a Unix socket, or none
    entries = [entry for value in forwarded_for for entry in value.split(",")]
    while entries and _is_trusted(found):
        claimed = _read(entries.pop().strip())
        if claimed is None:
            break
        found = claimed
    return str(found)


def neighbourhood(address: str) -> str:
    """What counts as one address in a budget: the address itself; of IPv6 the /64, all of which one host may use."""
    found = _read(address)
    if isinstance(found, IPv6Address):
        return f"{IPv6Address(int(found) >> 64 << 64)}/64"
    return address


def is_proxy(peer: str) -> bool:
    """Whether this peer is a trusted proxy, whose connections are those of many clients."""
    found = _read(peer)
    return found is not None and _is_trusted(found)


def _is_trusted(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


@lru_cache(maxsize=1024)
def _read(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
