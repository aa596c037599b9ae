"""Which addresses a source may connect to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http.client.addresses import NetworkRules, is_literal

REFUSED = {
    "a cloud metadata address": [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",  # IPv4-mapped
        "::ffff:a9fe:a9fe",
        "::169.254.169.254",  # IPv4-compatible
        "2002:a9fe:a9fe::1",  # 6to4
        "64:ff9b::a9fe:a9fe",  # NAT64
        "2001:0:a9fe:a9fe::1",  # Teredo
    ],
    "a loopback address": ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
    "an unspecified address": ["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    "a link-local address": ["169.254.0.1", "fe80::1", "fe80::1%eth0"],
    "a multicast address": ["224.0.0.1", "ff02::1"],
    "a private address": ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fc00::1", "fd12::1", "fec0::1"],
    "a reserved address": ["192.0.2.1", "198.18.0.1", "203.0.113.9", "255.255.255.255", "240.0.0.1", "2001:db8::1"],
}
CASES = [(address, kind) for kind, addresses in REFUSED.items() for address in addresses]


@pytest.mark.parametrize(("address", "kind"), CASES)
def test_special_addresses_are_refused_unless_they_are_named(address: str, kind: str) -> None:
    assert NetworkRules([], private=False).refusal("api.example", address) == kind
    named = [address.partition("%")[0], "127.0.0.0/8", "169.254.0.0/16", "0.0.0.0", "100.100.100.200", "168.63.129.16"]
    embedded = [*named, "192.0.0.192"]
    assert NetworkRules(embedded, private=False).refusal("api.example", address) is None


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "2002:0808:0808::1"])
def test_addresses_on_the_internet_are_allowed(address: str) -> None:
    assert NetworkRules([], private=False).refusal("api.example", address) is None


@pytest.mark.parametrize(("address", "kind"), CASES)
def test_a_name_allows_private_and_loopback_addresses_alone(address: str, kind: str) -> None:
    rules = NetworkRules(["CRM.internal."], private=False)
    allowed = rules.refusal("crm.Internal", address) is None
    assert allowed is (kind in {"a private address", "a loopback address"})
    assert rules.refusal("other.internal", address) == kind


@pytest.mark.parametrize(("address", "kind"), CASES)
def test_private_addresses_can_be_allowed_as_a_whole(address: str, kind: str) -> None:
    allowed = NetworkRules([], private=True).refusal("api.example", address) is None
    assert allowed is (kind == "a private address")


def test_what_is_no_address_is_refused() -> None:
    assert NetworkRules([], private=True).refusal("api.example", "api.example") == "no address"


@pytest.mark.parametrize("entry", ["", "https://crm", "crm:80", "10.0.0.1/8", "a b", "*.internal", "user@crm"])
def test_a_malformed_entry_is_an_error(entry: str) -> None:
    with pytest.raises(ValueError, match=r"expected the name of a host|is no network"):
        NetworkRules([entry], private=False)


@pytest.mark.parametrize(
    ("host", "literal"), [("10.0.0.1", True), ("::1", True), ("crm", False), ("0x7f.1", False), ("2130706433", False)]
)
def test_literals(host: str, *, literal: bool) -> None:
    assert is_literal(host) is literal


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_judged_as_itself(address: object) -> None:
    rules = NetworkRules([], private=False)
    alone = rules.refusal("api.example", str(address))
    assert rules.refusal("api.example", f"::ffff:{address}") == alone
    assert rules.refusal("api.example", f"64:ff9b::{address}") == alone
