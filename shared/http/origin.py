"""Where a request comes from, and whether that is allowed. Sans-I/O.

Addresses are compared as addresses, never as text; an IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4
address. `X-Forwarded-For` is believed only as far as trusted proxies have written it: it is read from the right, and
the first address that is not a trusted proxy's is where the request comes from.

An address permits something only where it is verified: it is that of a peer that connects directly, or a trusted proxy
has named it. Behind an untrusted proxy every client has the address of the proxy, often the loopback.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from multidict import MultiMapping
from pydantic import AfterValidator, Field

from shared.http.addresses import rate_limit_key

Address = IPv4Address | IPv6Address
_HOPS_LIMIT = 32
_NAME_LIMIT = 64
"""Characters of the longest name that a proxy may have added."""
_MAPPED_BITS = 96
"""Bits before an IPv4 address that is written as IPv6."""
# What proxies add: RFC 7239, RFC 9110 (7.6.3), RFC 8586, and the many names for the address of a client. `ce-` begins
# the attributes of an event that is pushed.
_PROXY_HEADER = re.compile(
    r"(?!ce-)(?:.*forwarded.*|via|cdn-loop|.*(?:[-_]|client|socket)ip(?:v[46])?|.*[-_]addr(?:ess)?)", re.IGNORECASE
)


def _network(text: str) -> str:
    network = ipaddress.ip_network(text, strict=False)  # raises ValueError, which names the text and what is wrong
    try:
        ipaddress.ip_network(text)
    except ValueError as exc:
        alone = text.partition("/")[0]
        raise ValueError(f"{exc}; expected the network {network}, or the address {alone} alone") from exc
    return text


Cidr = Annotated[
    str, AfterValidator(_network), Field(json_schema_extra={"pattern": r"^[0-9A-Fa-f:.]+(%[^\s/]+)?(/[0-9.]+)?$"})
]
"""A network in CIDR notation, or one address."""


class Networks:
    """A set of networks."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self._networks = [_unmapped(ipaddress.ip_network(cidr)) for cidr in cidrs]

    def __len__(self) -> int:
        return len(self._networks)

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and bool(self._networks) and any(address in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, as far as it can be known."""

    address: Address | None
    """The nearest address that is known; None where a peer has none, or a trusted proxy wrote something else."""
    proxied: bool
    """Whether a proxy has forwarded the request, trusted or not."""
    unverified: str = ""
    """Why the address permits nothing; empty where it does."""

    @property
    def loopback(self) -> bool:
        """Whether the request comes from this machine itself, directly."""
        return self.address is not None and self.address.is_loopback and not self.proxied and not self.unverified

    @property
    def not_loopback(self) -> str:
        """Why the request does not count as from this machine."""
        return self.unverified or ("a proxy has forwarded the request" if self.proxied else f"found {self.address}")

    def within(self, networks: Networks) -> bool:
        """Whether the request is known to come from one of these networks."""
        return not self.unverified and self.address in networks

    @property
    def budget_key(self) -> str:
        """The key of one budget: an IPv4 address, or an IPv6 /64, which is what one site is assigned.

        Behind an untrusted proxy that is the proxy's address.
        """
        return "None" if self.address is None else rate_limit_key(self.address)


def origin(peer: str | None, headers: MultiMapping[str], trusted: Networks) -> Origin:
    """Find where a request comes from: the peer itself, or what trusted proxies name."""
    address = _address(peer or "")
    # Strangers may send a megabyte of either, which this looks at before anything is known of them.
    proxied_by = next((name for name in headers if len(name) <= _NAME_LIMIT and _from_proxy(name)), None)
    hops = [hop for line in headers.getall("X-Forwarded-For", []) for hop in line.rsplit(",", _HOPS_LIMIT)]
    named = False
    for _ in range(_HOPS_LIMIT):
        if address not in trusted or not hops:
            break
        address, named = _address(_without_port(hops.pop().strip())), True
    else:
        address = None
    return Origin(address, proxied_by is not None, _doubt(address, trusted, proxied_by, hops, named=named))


def _doubt(address: Address | None, trusted: Networks, proxied_by: str | None, hops: list[str], *, named: bool) -> str:
    """Return why an address permits nothing; `hops` are those that no trusted proxy has written."""
    if address is None:
        return "the address is not known"
    if hops:
        return "an untrusted proxy has forwarded the request (header 'X-Forwarded-For')"
    if named:
        return ""
    if address in trusted or (trusted and proxied_by is None):
        return "no trusted proxy has named the address ('X-Forwarded-For' is missing)"
    return "" if proxied_by is None else f"an untrusted proxy has forwarded the request (header {proxied_by[:40]!r})"


# Most requests have the same few headers and addresses, and in a flood, looking at them takes a tenth of the time.
@functools.lru_cache(1024)
def _from_proxy(name: str) -> bool:
    return _PROXY_HEADER.fullmatch(name) is not None


def _address(text: str) -> Address | None:
    return _parsed(text) if len(text) <= _NAME_LIMIT else None


@functools.lru_cache(4096)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _unmapped(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return the IPv4 network for one that is written as IPv6 (`::ffff:192.0.2.0/120`)."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def _without_port(hop: str) -> str:
    """Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
