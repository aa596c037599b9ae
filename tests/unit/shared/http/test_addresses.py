import ipaddress

import pytest

from shared.http.addresses import peer_rate_limit_key, rate_limit_key


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_an_ipv4_address_has_its_own_limit_and_an_ipv6_network_shares_one(address: str, expected: str) -> None:
    assert rate_limit_key(ipaddress.ip_address(address)) == expected


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("192.0.2.1", 4711), "192.0.2.1"),
        (("::ffff:192.0.2.1", 4711, 0, 0), "192.0.2.1"),
        (("2001:db8::1:2:3:4", 4711, 0, 0), "2001:db8::/64"),
        (("fe80::1%2", 4711, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_key_of_a_peer(peer: object, expected: str) -> None:
    assert peer_rate_limit_key(peer) == expected
