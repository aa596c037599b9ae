"""The key under which addresses share a limit: one client may have a whole /64 of IPv6 addresses."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any


def rate_limit_key(address: IPv4Address | IPv6Address) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its /64, which is what a provider gives one customer."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def peer_rate_limit_key(peer: Any) -> str:
    """Return the key of a socket's peer name, empty if it holds no address."""
    try:
        address = ip_address(peer[0])
    except (TypeError, IndexError, ValueError):
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return rate_limit_key(mapped or address)
