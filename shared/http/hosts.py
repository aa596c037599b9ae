"""The names that a listener is reached by.

A page in a browser can let a name of its own point to the loopback, and then read what a service there answers: for the
browser it is the page's own origin (DNS rebinding). The header `Host` still has the page's name, so that the service
can refuse it.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from aiohttp.typedefs import Middleware

from shared.errors import ProblemError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANY = "*"
_LOOPBACK = ("localhost", "*.localhost", "127.*", "::1")
_STATUS = 421


class HostRefusedError(ProblemError):
    """The request names a host that this listener is not called."""

    def __init__(self, host: str) -> None:
        detail = f"header 'Host': found {host[:80]!r}; the setting `listen.hosts` names those that are answered"
        super().__init__(detail, status=_STATUS, detail=detail, headers={}, members={"code": "host-not-allowed"})


def allowed_hosts(address: str, configured: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names that a listener at an address answers to."""
    if configured is not None:
        return tuple(name.lower() for name in configured)
    return _LOOPBACK if _is_loopback(address) else (ANY,)


def host_allowed(header: str, allowed: Iterable[str]) -> bool:
    """Return whether the value of a header `Host` is one of these names; its port does not matter."""
    name = _without_port(header.strip().lower()).removesuffix(".")
    return any(_matches(name, pattern) for pattern in allowed)


def only_from(allowed: tuple[str, ...]) -> Middleware:
    """Return a middleware that refuses requests for other hosts."""

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        # HTTP/1.0 needs no host; browsers do not speak it.
        host = request.headers.get("Host", "")
        if host and ANY not in allowed and not host_allowed(host, allowed):
            raise HostRefusedError(host)
        return await handler(request)

    return checked


def _matches(name: str, pattern: str) -> bool:
    match pattern:
        case "*":
            return True
        case "127.*":
            return _is_loopback(name)
        case _ if pattern.startswith("*."):
            return name.endswith(pattern[1:]) and name != pattern[1:]
        case _:
            return name == pattern


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
