"""Which addresses share one bound: an attacker has as many IPv6 addresses as he likes, and one network of them."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any


def neighbourhood(address: IPv4Address | IPv6Address) -> str:
    """Return what shares one bound: an IPv4 address, or an IPv6 /64, for that is what one household is given."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


def household(peer: Any) -> str:
    """Return what shares one bound with a peer, empty where its address is not known."""
    try:
        address = ip_address(peer[0])
    except (TypeError, IndexError, ValueError):
        return ""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return neighbourhood(mapped or address)
