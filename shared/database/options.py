"""Where the database is, and how to talk to it."""

import re
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import Options, RelativePath, Secret

_SCHEMES = frozenset({"postgresql", "postgres"})
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(?P<port>[^:\[\]]*))?")
_PORT = re.compile(r":[0-9]*$")
_LAST_PORT = 65_535
_SOCKET = "/var/run/postgresql"
"""Where libpq and asyncpg look for a server without a host."""
_ESCAPES = "in the user and the password, write %40 for @, %2F for /, %3F for ?, %23 for # and %25 for %"
_ELSEWHERE = {
    "password": "`password`",
    "sslmode": "`tls`",
    "sslrootcert": "`tls.ca_file`",
}


class DatabaseTlsOptions(Options):
    """How the database proves that it is ours."""

    ca_file: RelativePath | None = None
    """PEM file of the authorities that may vouch for the server; none takes the system's."""

    verify: bool = True
    """Whether certificate and host name are checked. Without, traffic is private and the other end is anybody."""


class DatabaseOptions(Options):
    """The PostgreSQL (15 or newer) that holds registrations, leases and, where chosen, the bus."""

    url: str = "postgresql://trelay@127.0.0.1:5432/trelay"
    """`postgresql://user@host:port/database`; several hosts (`host1:port1,host2:port2`) are tried in turn, and
    `?target_session_attrs=primary` picks the right one. A password in it is moved to `password`.

    A direct connection or a session pooler: LISTEN and prepared statements do not survive a transaction pooler.
    """

    password: Secret | None = None
    """Of that user; else the environment's PGPASSWORD, else none."""

    tls: DatabaseTlsOptions | None = None
    """None: unencrypted, for a server on this machine or a network that is trusted."""

    pool_size: int = Field(default=4, ge=1, le=100)
    """Connections for registrations. Beside these a process opens one for notifications, two for leases, and those
    of the PostgreSQL bus."""

    connect_timeout: float = Field(default=5.0, gt=0)
    """Seconds for one attempt to connect."""

    statement_timeout: float = Field(default=15.0, gt=0)
    """Seconds after which the server gives up a statement of ours, and soon after that we give up the server.
    Migrations are exempt."""

    @model_validator(mode="before")
    @classmethod
    def _take_out_the_password(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        parts = urlsplit(given["url"])
        account, at, hosts = parts.netloc.rpartition("@")
        user, colon, password = account.partition(":")
        if not colon:
            return given
        if given.get("password") is not None:
            raise ValueError("the password is given twice: in `url` and as `password`")
        return given | {
            "url": urlunsplit(parts._replace(netloc=f"{user}{at}{hosts}")),
            "password": SecretStr(unquote(password)),
        }

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.netloc:
            raise ValueError("expected postgresql://user@host:port/database")
        hosts = _hosts(parts.netloc)
        beyond = parts.path + parts.fragment + parts.query.partition("=")[0]
        found = [_HOST.fullmatch(host) for host in hosts]
        if "@" in beyond or parts.fragment or not all(found):
            # Else the rest of a password would be taken for the host, and shown as such.
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
                raise ValueError(f"{name} does not belong in the query: give {_ELSEWHERE[name]}")
        return url

    @property
    def hosts(self) -> list[str]:
        """The hosts in turn, each a name, an address, or the folder of a Unix socket."""
        parts = urlsplit(self.url)
        named = [host.rpartition(":")[0] if _PORT.search(host) else host for host in _hosts(parts.netloc)]
        if not any(named):
            named = dict(parse_qsl(parts.query)).get("host", _SOCKET).split(",")
        return [unquote(host.strip("[]")) for host in named]

    @cached_property
    def place(self) -> str:
        """What errors and logs call this database: hosts and name, never the account."""
        parts = urlsplit(self.url)
        return f"database {parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_PORT)) and 0 < int(text) <= _LAST_PORT


def _hosts(netloc: str) -> list[str]:
    return netloc.rpartition("@")[2].split(",")
