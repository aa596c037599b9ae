import ipaddress

import pytest

from shared.http.addresses import neighbourhood


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
    ],
)
def test_an_ipv4_address_stands_alone_and_an_ipv6_network_together(address: str, expected: str) -> None:
    assert neighbourhood(ipaddress.ip_address(address)) == expected
