"""Connects only to addresses that the rules allow, and checks the address that the socket is really connected to.

A host is resolved once for each connection, and the connection goes to the addresses that were checked: a DNS answer
that changes in between has no effect. Redirects and WebSockets open their connections here as well.

A redirect is followed by `HttpClient.get` alone, which knows which host may get the credentials. aiohttp follows those
of a WebSocket's handshake by itself, with the headers of the request, so that a key in one would go to any host.
"""

import errno
import socket
import ssl
from collections.abc import Iterator

from aiohttp import AddrInfoType, ClientSession, TCPConnector, TraceConfig, TraceRequestRedirectParams
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from shared.errors import SettingsError
from shared.http.client.addresses import NetworkRules
from shared.http.client.options import ClientTlsOptions

CONNECTIONS = 4
"""Connections of one source: it sends one request at a time, and one for a token."""


class AddressNotAllowed(OSError):
    """The rules do not allow the address of a host."""

    def __init__(self, host: str, address: str, refused: str) -> None:
        shown = host if host == address else f"{host} has the address {address}, which"
        super().__init__(
            errno.EACCES,
            f"{shown} is {refused}; if it is intended, add it to network.allow in the settings",
        )


class RedirectNotFollowed(Exception):
    """A response redirects a request that aiohttp would have repeated at the other URL."""

    def __init__(self, status: int, location: str) -> None:
        super().__init__(f"{status} to {location[:100]!r}; a redirect of such a request is not followed")


def without_redirects() -> TraceConfig:
    """Return the hook that lets a session follow no redirect: it raises `RedirectNotFollowed`."""
    hook = TraceConfig()
    hook.on_request_redirect.append(_refuse_redirect)
    return hook


async def _refuse_redirect(_session: ClientSession, _context: object, params: TraceRequestRedirectParams) -> None:
    params.response.close()
    raise RedirectNotFollowed(params.response.status, params.response.headers.get("Location", ""))


def connector(rules: NetworkRules, tls: ssl.SSLContext, connections: int = CONNECTIONS) -> TCPConnector:
    """Return a connector for one session, with so many connections at most."""
    gate = AddressGate(rules)
    return TCPConnector(
        resolver=gate,
        socket_factory=gate.socket,
        use_dns_cache=False,  # a keep-alive connection needs none, and each answer has to be checked
        limit=connections,
        ssl=tls,
    )


def tls_context(place: str, options: ClientTlsOptions) -> ssl.SSLContext:
    """Return the context for TLS connections.

    Raises:
        SettingsError: a file cannot be used; `place` is the path of the settings.
    """
    password = options.key_password.get_secret_value() if options.key_password else ""
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if options.cert_file is not None:
            # A function, because OpenSSL would otherwise prompt at the terminal.
            context.load_cert_chain(options.cert_file, options.key_file, lambda: password)
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        files = {"ca_file": options.ca_file, "cert_file": options.cert_file, "key_file": options.key_file}
        named = ", ".join(f"{name} {path}" for name, path in files.items() if path is not None)
        raise SettingsError(f"{place}.tls: {named} cannot be used: {exc}") from exc
    return context


def refused_address(error: BaseException) -> AddressNotAllowed | None:
    """Return the refusal among the causes of an error of aiohttp, None where there is none."""
    return next((each for each in _causes(error) if isinstance(each, AddressNotAllowed)), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(10):
        if found is None:
            return
        yield found
        os_error = getattr(found, "os_error", None)
        if isinstance(os_error, AddressNotAllowed):
            yield os_error
        found = found.__cause__ or found.__context__


class AddressGate(AbstractResolver):
    """Resolves names to the addresses that are allowed, and makes sockets only for these."""

    def __init__(self, rules: NetworkRules) -> None:
        self._rules = rules
        self._resolver = ThreadedResolver()
        self._allowed_by_name: set[str] = set()
        """Addresses that only the name of their host allows."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host that may be connected to.

        Raises:
            AddressNotAllowed: there are only others.
            OSError: the name cannot be resolved.
        """
        found = await self._resolver.resolve(host, port, family)
        allowed = []
        refusal: AddressNotAllowed | None = None
        for each in found:
            refused = self._rules.refusal(host, each["host"])
            if refused is None:
                allowed.append(each)
                self._allowed_by_name.add(each["host"])
            else:
                refusal = refusal or AddressNotAllowed(host, each["host"], refused)
        if not allowed and refusal is not None:
            raise refusal
        return allowed

    async def close(self) -> None:
        """Close nothing: the resolver holds nothing open."""

    def socket(self, info: AddrInfoType) -> socket.socket:
        """Make the socket for one address; an address in a URL comes here without `resolve`."""
        family, kind, protocol, _, address = info
        host = str(address[0])
        refused = None if host in self._allowed_by_name else self._rules.refusal(host, host)
        if refused is not None:
            raise AddressNotAllowed(host, host, refused)
        return socket.socket(family, kind, protocol)
