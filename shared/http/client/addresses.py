"""Which addresses a source may connect to, so that an API cannot make Trelay call a server inside the network.

The attack is server-side request forgery (OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"): a redirect, or
a DNS answer that changes, leads to the metadata service of a cloud or to a server that trusts its network. No I/O.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*written: str) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in written)


_METADATA = _networks(
    "169.254.169.254/32",  # AWS, Azure, Google Cloud, OpenStack, DigitalOcean
    "169.254.170.2/32",  # AWS ECS
    "169.254.170.23/32",  # AWS EKS
    "100.100.100.200/32",  # Alibaba Cloud
    "168.63.129.16/32",  # Azure, outside every reserved range
    "192.0.0.192/32",  # Oracle Cloud
    "fd00:ec2::254/128",  # AWS
    "fd00:ec2::23/128",  # AWS EKS
    "fd20:ce::254/128",  # Google Cloud
)
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10")
"""RFC 1918, RFC 6598, RFC 4193, and the site-local addresses of RFC 3513."""
_UNSPECIFIED = _networks("0.0.0.0/8", "::/128")
"""Linux connects these to the host itself."""
_RESERVED = _networks(
    "192.0.0.0/24",
    "192.0.2.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "240.0.0.0/4",
    "100::/64",
    "2001:db8::/32",
    "64:ff9b:1::/48",
)
"""From the IANA registries of special-purpose addresses: not reachable from the Internet."""
_NAT64 = ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ip_network("::/96")

PRIVATE, LOOPBACK = "a private address", "a loopback address"
_BY_NAME = {PRIVATE, LOOPBACK}
"""What the name of a host permits. All else is permitted only by the address itself."""


class NetworkRules:
    """The addresses that one source may connect to."""

    def __init__(self, allow: Iterable[str], *, private: bool) -> None:
        """`allow` holds names of hosts, addresses and networks; `private` permits all private addresses.

        Raises:
            ValueError: an entry is none of these.
        """
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        self._private = private
        for entry in allow:
            network = _network(entry)
            if network is None:
                self._hosts.add(_host(entry))
            else:
                self._networks.append(network)

    def refusal(self, host: str, address: str) -> str | None:
        """Return why the host's address may not be connected to, such as `a loopback address`; None if it may."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return "no address"
        if self._named(parsed):
            return None
        return next(filter(None, (self._refusal(_normal(host), each) for each in (parsed, *_embedded(parsed)))), None)

    def _refusal(self, host: str, address: Address) -> str | None:
        kind = kind_of(address)
        if kind is None or self._named(address):
            return None
        permitted = (kind is PRIVATE and self._private) or (kind in _BY_NAME and host in self._hosts)
        return None if permitted else kind

    def _named(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def kind_of(address: Address) -> str | None:
    """Return what is special about an address, None if it is on the Internet."""
    kinds = {
        "a cloud metadata address": _METADATA,
        "an unspecified address": _UNSPECIFIED,
        PRIVATE: _PRIVATE,
        "a reserved address": _RESERVED,
    }
    for kind, networks in kinds.items():
        if any(address in network for network in networks):
            return kind
    if address.is_loopback:
        return LOOPBACK
    if address.is_link_local:
        return "a link-local address"
    return "a multicast address" if address.is_multicast else None


def is_literal(host: str) -> bool:
    """Whether a host of a URL is an address and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _embedded(address: Address) -> list[IPv4Address]:
    """Return the IPv4 addresses that a gateway or the system would take from an IPv6 address."""
    if isinstance(address, IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return [each for each in found if each is not None]


def _network(entry: str) -> Network | None:
    try:
        return ip_network(entry)
    except ValueError as exc:
        if "/" in entry:
            raise ValueError(f"{entry!r} is no network: {exc}") from exc
        return None


def _host(entry: str) -> str:
    host = _normal(entry)
    if not host or any(character in host for character in ":/@?#[]*% "):
        raise ValueError(f"{entry!r}: expected the name of a host, an address or a network, such as 10.0.0.0/8")
    return host


def _normal(host: str) -> str:
    return host.lower().rstrip(".")
