"""How to reach the database, and its timeouts."""

import re
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import Field, field_validator, model_validator

from shared.settings import FollowedSecret, Options, RelativePath
from shared.settings.url_password import move_password

_SCHEMES = ("postgresql://", "postgres://")
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>[^:\[\]]*))?")
_PORT = re.compile(r":[0-9]*$")
_LAST_PORT = 65_535
_DEFAULT_PORT = 5432
_SOCKET = "/var/run/postgresql"
"""Where libpq and asyncpg look for a server without a host."""
_ESCAPES = "in the user and the password, write %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %"
_ELSEWHERE = {
    "password": "`password`",
    "sslmode": "`tls`",
    "sslrootcert": "`tls.ca_file`",
}


class DatabaseTlsOptions(Options):
    """TLS to the database."""

    ca_file: RelativePath | None = None
    """PEM file of the certificate authorities that the server's certificate is checked against; by default the
    system's."""

    verify: bool = True
    """Whether the certificate and the host name of the server are checked. Without, traffic is encrypted, but the
    server is not authenticated."""


class DatabaseOptions(Options):
    """The PostgreSQL database (15 or newer) with registrations, leases and, with `bus.kind: postgres`, the bus."""

    url: Annotated[str, Field(json_schema_extra={"pattern": r"^postgres(ql)?://[^/?#]"})] = (
        "postgresql://trelay@127.0.0.1:5432/trelay"
    )
    """`postgresql://user@host:port/database`. Several hosts (`host1:port1,host2:port2`) are tried in turn;
    `?target_session_attrs=primary` selects the primary. A password in it is moved to `password`.

    Connect directly or through a pooler in session mode: LISTEN and prepared statements do not work in transaction
    mode.
    """

    password: FollowedSecret | None = None
    """The password of the user; by default the environment variable PGPASSWORD, or none. A file is read again for each
    connection, so that the password can be changed without a restart."""

    tls: DatabaseTlsOptions | None = None
    """TLS settings; none: unencrypted, for a server on this machine or on a trusted network."""

    pool_size: int = Field(default=4, ge=1, le=100)
    """Connections of one process for registrations. It opens one more for notifications, two for leases, and those of
    the PostgreSQL bus."""

    connect_timeout: float = Field(default=5.0, gt=0)
    """Seconds that one attempt to connect may take."""

    statement_timeout: float = Field(default=15.0, gt=0)
    """Seconds after which the server cancels a statement; 2 seconds later the client closes the connection. Migrations
    have no limit."""

    @model_validator(mode="before")
    @classmethod
    def _move_password(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        parts = _split(given["url"])
        return move_password(given, parts)

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = _split(url)
        if not url.startswith(_SCHEMES) or not parts.netloc:
            raise ValueError("expected postgresql://user@host:port/database")
        hosts = _hosts(parts.netloc)
        beyond = parts.path + parts.fragment + parts.query.partition("=")[0]
        found = [_HOST.fullmatch(host) for host in hosts]
        if "@" in beyond or parts.fragment or not all(found):
            # Otherwise a part of the password would be parsed, and shown, as the host.
            raise ValueError(f"expected postgresql://user@host:port/database; {_ESCAPES}")
        for host in filter(None, found):
            if (port := host["port"]) is not None and not _is_port(port):
                if "@" not in parts.netloc or "@" in parts.query:
                    # It may be the beginning of a password.
                    expected = "expected postgresql://user@host:port/database, the port a number from 1 to 65535"
                    raise ValueError(f"{expected}; {_ESCAPES}")
                raise ValueError(f"port {port!r} of {host['host']!r}: expected a number from 1 to 65535")
        for name, _ in parse_qsl(parts.query):
            if name in _ELSEWHERE:
                raise ValueError(f"found {name} in the query; use {_ELSEWHERE[name]}")
        return url

    @property
    def hosts(self) -> list[str]:
        """The hosts in turn, each a name, an address, or the folder of a Unix socket."""
        parts = _split(self.url)
        named = [host.rpartition(":")[0] if _PORT.search(host) else host for host in _hosts(parts.netloc)]
        if not any(named):
            named = dict(parse_qsl(parts.query)).get("host", _SOCKET).split(",")
        return [unquote(host.strip("[]")) for host in named]

    @property
    def database(self) -> str:
        """The name of the database; empty where it is that of the user."""
        return unquote(_split(self.url).path.lstrip("/"))

    @property
    def endpoint(self) -> dict[str, Any]:
        """The arguments of asyncpg that say where to connect, and as whom."""
        parts = _split(self.url)
        if "[" not in parts.netloc or "," not in parts.netloc:
            return {"dsn": self.url}
        # asyncpg uses urlsplit of Python, which refuses an IPv6 address beside other hosts: it gets these apart.
        account, at, _ = parts.netloc.rpartition("@")
        ports = [found["port"] for host in _hosts(parts.netloc) if (found := _HOST.fullmatch(host))]
        return {
            "dsn": urlunsplit(parts._replace(netloc=f"{account}{at}")),
            "host": self.hosts,
            "port": [int(port or _DEFAULT_PORT) for port in ports],
        }

    @cached_property
    def address(self) -> str:
        """The hosts and the name of the database, for errors and logs; never the user."""
        parts = _split(self.url)
        return f"database {parts.netloc.rpartition('@')[2]}{parts.path}"


def _split(url: str) -> SplitResult:
    """Split a URL as urlsplit does, which refuses an IPv6 address beside other hosts in newer releases of Python."""
    scheme, slashes, rest = url.partition("://")
    if not slashes:
        return urlsplit(url)
    end = next((place for place, character in enumerate(rest) if character in "/?#"), len(rest))
    return urlsplit(f"{scheme}://{rest[end:]}")._replace(netloc=rest[:end])


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_PORT)) and 0 < int(text) <= _LAST_PORT


def _hosts(netloc: str) -> list[str]:
    return netloc.rpartition("@")[2].split(",")
