"""Which addresses share one bound: an attacker has as many IPv6 addresses as he likes, and one network of them."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network


def neighbourhood(address: IPv4Address | IPv6Address) -> str:
    """Return what shares one bound: an IPv4 address, or an IPv6 /64, for that is what one household is given."""
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)
