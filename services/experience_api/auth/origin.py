"""Where a request comes from, and whether that is allowed. Sans-I/O.

Addresses are compared as addresses, never as text; an IPv4 address written as IPv6 (`::ffff:192.0.2.1`) is the IPv4
address. `X-Forwarded-For` is believed only as far as trusted proxies have written it: it is read from the right, and
the first address that is not a trusted proxy's is where the request comes from.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Annotated

from multidict import MultiMapping
from pydantic import AfterValidator, Field

from shared.http.addresses import rate_limit_key

Address = IPv4Address | IPv6Address
_HOPS_LIMIT = 32
_PROXY_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via")


def _network(text: str) -> str:
    ipaddress.ip_network(text)  # raises ValueError, which names the text and what is wrong, host bits for example
    return text


Cidr = Annotated[
    str, AfterValidator(_network), Field(json_schema_extra={"pattern": r"^[0-9A-Fa-f:.]+(%[^\s/]+)?(/[0-9.]+)?$"})
]
"""A network in CIDR notation, or one address."""


class Networks:
    """A set of networks."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self._networks: list[IPv4Network | IPv6Network] = [ipaddress.ip_network(cidr) for cidr in cidrs]

    def __contains__(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from, as far as it can be known."""

    address: Address | None
    """None where it cannot be known: no peer address, or a trusted proxy wrote something that is none."""
    proxied: bool
    """Whether somebody passed it on, whom we may know or not."""

    @property
    def loopback(self) -> bool:
        """Whether it comes from this machine itself.

        A proxy on this machine that is not named as trusted does not count: everybody would be local.
        """
        return self.address is not None and self.address.is_loopback and not self.proxied

    @property
    def budget_key(self) -> str:
        """What shares one budget: an IPv4 address, or an IPv6 /64, for that is what one household is given."""
        return "None" if self.address is None else rate_limit_key(self.address)


def origin(peer: str | None, headers: MultiMapping[str], trusted: Networks) -> Origin:
    """Find where a request comes from: the peer itself, or what trusted proxies say of it."""
    proxied = any(name in headers for name in _PROXY_HEADERS)
    address = _address(peer or "")
    hops = [hop for line in headers.getall("X-Forwarded-For", []) for hop in line.split(",")]
    for _ in range(_HOPS_LIMIT):
        if address not in trusted or not hops:
            return Origin(address, proxied)
        address = _address(_without_port(hops.pop().strip()))
    return Origin(None, proxied)


def _address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _without_port(hop: str) -> str:
    """Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
