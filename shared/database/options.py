"""Where the database is, and how to talk to it."""

import re
from functools import cached_property
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import Options, RelativePath, Secret

_SCHEMES = ("postgresql://", "postgres://")
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(:[0-9]{1,5})?")
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

    url: Annotated[str, Field(json_schema_extra={"pattern": r"^postgres(ql)?://[^/?#]"})] = (
        "postgresql://trelay@127.0.0.1:5432/trelay"
    )
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
        if not url.startswith(_SCHEMES) or not parts.netloc:
            raise ValueError("expected postgresql://user@host:port/database")
        hosts = parts.netloc.rpartition("@")[2].split(",")
        beyond = parts.path + parts.fragment + parts.query.partition("=")[0]
        if "@" in beyond or parts.fragment or not all(map(_HOST.fullmatch, hosts)):
            # Else the rest of a password would be taken for the host, and shown as such.
            raise ValueError(f"expected postgresql://user@host:port/database; {_ESCAPES}")
        for name, _ in parse_qsl(parts.query):
            if name in _ELSEWHERE:
                raise ValueError(f"{name} does not belong in the query: give {_ELSEWHERE[name]}")
        return url

    @cached_property
    def place(self) -> str:
        """What errors and logs call this database: hosts and name, never the account."""
        parts = urlsplit(self.url)
        return f"database {parts.netloc.rpartition('@')[2]}{parts.path}"
