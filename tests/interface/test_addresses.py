"""Who a request comes from: what a stranger claims of it is not believed."""

from ipaddress import ip_network

import pytest
from django.test import override_settings

from memoryhub.interface.http.addresses import client_address, is_proxy, neighbourhood

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # no proxy of ours: a stranger's claim
        ("10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.7", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),  # the first entry is the client's own claim
        ("10.0.0.7", ["192.0.2.66", "198.51.100.1"], "198.51.100.1"),  # two lines are one list
        ("10.0.0.7", ["198.51.100.1, 10.0.0.8"], "198.51.100.1"),  # a chain of named proxies
        ("10.0.0.7", ["not an address"], "10.0.0.7"),
        ("10.0.0.7", [""], "10.0.0.7"),
        ("10.0.0.7", ["10.0.0.9"], "10.0.0.9"),
        ("::ffff:10.0.0.7", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_named_proxies_are_believed(peer: str, forwarded: list[str], found: str) -> None:
    with override_settings(TRUSTED_PROXIES=PROXIES):
        assert client_address(peer, forwarded) == found


def test_nobody_is_believed_by_default() -> None:
    assert client_address("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"
    assert not is_proxy("127.0.0.1")


def test_one_machine_is_one_address() -> None:
    assert neighbourhood("203.0.113.9") == "203.0.113.9"
    assert neighbourhood("2001:db8:0:1::5") == neighbourhood("2001:db8:0:1:ffff::1") == "2001:db8:0:1::/64"
    assert neighbourhood("2001:db8:0:2::5") != neighbourhood("2001:db8:0:1::5")
