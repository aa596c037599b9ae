from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import TypeAdapter, ValidationError

from shared.http.origin import Cidr, Networks, Origin, origin

PROXIES = Networks(["10.0.0.0/8", "2001:db8:1::/64"])
NOBODY = Networks([])


@pytest.mark.parametrize("cidr", ["::ffff:192.0.2.0/120", "::ffff:c000:0200/120"])
def test_a_network_of_mapped_addresses_is_the_ipv4_network(cidr: str) -> None:
    networks = Networks([cidr])
    assert [ip_address(text) in networks for text in ("192.0.2.7", "192.0.3.7", "::1")] == [True, False, False]


def seen(peer: str | None, *forwarded: str, trusted: Networks = PROXIES) -> str:
    return str(origin(peer, CIMultiDict(("X-Forwarded-For", line) for line in forwarded), trusted).address)


@pytest.mark.parametrize(
    ("peer", "allowed"),
    [
        ("192.0.2.7", True),
        ("192.0.3.7", False),
        ("::ffff:192.0.2.7", True),
        ("::ffff:c000:0207", True),
        ("::ffff:192.0.3.7", False),
        ("2001:db8::1", True),
        ("2001:DB8:0:0::1", True),
        ("2001:db9::1", False),
        ("fe80::1%eth0", True),
        ("192.0.2.07", False),
        ("3221225991", False),
        ("192.0.2.7 ", False),
        ("", False),
        (None, False),
        ("localhost", False),
    ],
)
def test_addresses_are_compared_as_addresses(peer: str | None, allowed: bool) -> None:
    networks = Networks(["192.0.2.0/24", "2001:db8::/48", "fe80::/10"])
    assert (origin(peer, CIMultiDict(), NOBODY).address in networks) is allowed


def test_nothing_is_allowed_by_an_empty_list() -> None:
    assert ip_address("127.0.0.1") not in NOBODY
    assert None not in Networks(["0.0.0.0/0", "::/0"])


def test_the_header_of_a_stranger_is_not_believed() -> None:
    assert seen("192.0.2.1", "127.0.0.1") == "192.0.2.1"
    assert seen("10.0.0.1", "127.0.0.1", trusted=NOBODY) == "10.0.0.1"


def test_the_header_is_read_from_the_right_and_only_through_trusted_hops() -> None:
    assert seen("10.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert seen("10.0.0.1", "127.0.0.1, 203.0.113.9") == "203.0.113.9"
    assert seen("10.0.0.1", "127.0.0.1, 203.0.113.9, 10.2.3.4") == "203.0.113.9"
    assert seen("10.0.0.1", "127.0.0.1", "203.0.113.9", "10.2.3.4 ") == "203.0.113.9"
    assert seen("2001:db8:1::5", "2001:db8:2::1") == "2001:db8:2::1"
    assert seen("::ffff:10.0.0.1", "203.0.113.9") == "203.0.113.9"


def test_a_trusted_peer_without_forwarding_headers_is_the_origin() -> None:
    assert seen("10.0.0.1") == "10.0.0.1"
    assert seen("10.0.0.1", "10.0.0.2") == "10.0.0.2"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", "None"),
        ("_hidden", "None"),
        ("", "None"),
        ("[", "None"),
        ("192.0.2.1, ", "None"),
    ],
)
def test_what_a_trusted_proxy_writes_is_an_address_or_unknown(hop: str, address: str) -> None:
    assert seen("10.0.0.1", hop) == address


def test_a_header_without_end_is_unknown() -> None:
    assert seen("10.0.0.1", ", ".join(["10.0.0.1"] * 10_000)) == "None"


PROXY_HEADERS = [
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded",
    "X-Original-Forwarded-For",
    "Forwarded",
    "Forwarded-For",
    "X-Real-IP",
    "Via",
    "CDN-Loop",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "True-Client-IP",
    "Client-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "WL-Proxy-Client-IP",
    "X-ProxyUser-Ip",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Envoy-External-Address",
    "CloudFront-Viewer-Address",
    "X-Remote-Addr",
    "via",
]
EVERYWHERE = Networks(["0.0.0.0/0", "::/0"])


@pytest.mark.parametrize("header", PROXY_HEADERS)
@pytest.mark.parametrize("value", ["127.0.0.1", "203.0.113.9", ""])
@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "192.0.2.1"])
def test_what_an_untrusted_proxy_passed_on_comes_from_nowhere_that_counts(peer: str, value: str, header: str) -> None:
    """A proxy on this machine that no setting names would make the whole world local."""
    for trusted in (NOBODY, PROXIES):
        found = origin(peer, CIMultiDict({header: value}), trusted)
        assert not found.loopback
        assert not found.within(EVERYWHERE)
        assert found.unverified == f"an untrusted proxy has forwarded the request (header {header!r})"
        assert found.budget_key == origin(peer, CIMultiDict(), trusted).budget_key


@pytest.mark.parametrize(
    "header", ["Host", "Accept", "Origin", "Traceparent", "ce-source", "ce-clientip", "ce-my-address", "X-Skip"]
)
def test_what_any_sender_may_say_is_no_sign_of_a_proxy(header: str) -> None:
    assert origin("127.0.0.1", CIMultiDict({header: "127.0.0.1"}), NOBODY).loopback


@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1", "192.0.2.1"])
def test_where_proxies_are_trusted_what_none_of_them_named_comes_from_nowhere_that_counts(peer: str) -> None:
    found = origin(peer, CIMultiDict(), Networks(["10.0.0.0/8", "127.0.0.1"]))
    assert not found.loopback
    assert not found.within(EVERYWHERE)
    assert "no trusted proxy" in found.unverified


def test_an_untrusted_proxy_before_a_trusted_one_is_still_untrusted() -> None:
    found = origin("10.0.0.1", CIMultiDict({"X-Forwarded-For": "203.0.113.9, 192.0.2.1"}), PROXIES)
    assert (str(found.address), found.within(EVERYWHERE)) == ("192.0.2.1", False)


def test_an_address_that_a_trusted_proxy_names_counts_but_is_never_this_machine() -> None:
    headers = CIMultiDict({"X-Forwarded-For": "192.0.2.1", "Via": "1.1 lb", "X-Real-IP": "192.0.2.1"})
    found = origin("10.0.0.1", headers, PROXIES)
    assert found.within(Networks(["192.0.2.0/24"]))
    assert not found.within(Networks(["198.51.100.0/24"]))
    local = origin("10.0.0.1", CIMultiDict({"X-Forwarded-For": "127.0.0.1"}), PROXIES)
    assert (str(local.address), local.loopback) == ("127.0.0.1", False)


@pytest.mark.parametrize("hop", ["", "unknown", "_hidden"])
def test_an_address_that_a_trusted_proxy_does_not_know_does_not_count(hop: str) -> None:
    found = origin("10.0.0.1", CIMultiDict({"X-Forwarded-For": hop}), PROXIES)
    assert not found.within(EVERYWHERE)
    assert found.unverified == "the address is not known"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_is_recognised(peer: str) -> None:
    assert origin(peer, CIMultiDict(), NOBODY).loopback


@pytest.mark.parametrize("peer", ["192.0.2.1", "::", "0.0.0.0", None])
def test_anything_else_is_not_the_loopback(peer: str | None) -> None:
    assert not origin(peer, CIMultiDict(), NOBODY).loopback


def test_the_addresses_of_an_ipv6_64_share_one_budget() -> None:
    one, same, other = (Origin(ip_address(text), proxied=False).budget_key for text in ("1::2", "1::3:4", "1:0:0:1::2"))
    assert one == same == "1::/64"
    assert other != one
    assert Origin(ip_address("192.0.2.1"), proxied=False).budget_key == "192.0.2.1"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (Origin(ip_address("192.0.2.1"), proxied=False), "found 192.0.2.1"),
        (Origin(ip_address("127.0.0.1"), proxied=True), "a proxy has forwarded the request"),
        (Origin(None, proxied=True, unverified="the address is not known"), "the address is not known"),
    ],
)
def test_the_reason_names_why_a_request_is_not_from_this_machine(found: Origin, reason: str) -> None:
    assert not found.loopback
    assert found.not_loopback == reason


@pytest.mark.parametrize("text", ["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "::1"])
def test_a_network_is_written_as_cidr(text: str) -> None:
    assert TypeAdapter(Cidr).validate_python(text) == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("10.0.0.1/8", "host bits set; expected the network 10.0.0.0/8, or the address 10.0.0.1 alone"),
        ("lan", "does not appear"),
        ("1.2.3.4/33", "does not appear"),
    ],
)
def test_a_wrong_network_is_named(text: str, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TypeAdapter(Cidr).validate_python(text)


@given(st.text(), st.lists(st.text(), max_size=4))
def test_hostile_hops_never_become_a_trusted_address(peer: str, lines: list[str]) -> None:
    headers = CIMultiDict(("X-Forwarded-For", line) for line in lines)
    found = origin(peer, headers, Networks(["0.0.0.0/0", "::/0"]))
    assert found.address is None or lines
