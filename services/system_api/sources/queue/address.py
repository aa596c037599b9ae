"""The address of a broker in the settings: a URL, credentials beside it, and TLS."""

import re
import ssl
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field, field_validator, model_validator

from services.system_api.sources.queue.options import QueueSourceOptions
from shared.errors import SettingsError
from shared.settings import Options, RelativePath, Secret
from shared.settings.url_password import move_password

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[^:]*))?")
_PORT = re.compile(r"[0-9]{1,5}")
_LAST_PORT = 65_535


class TlsOptions(Options):
    """TLS to a broker."""

    ca_file: RelativePath | None = None
    """PEM file of the certificate authorities that the broker's certificate is checked against; by default the
    system's."""
    cert_file: RelativePath | None = None
    """PEM file of the client certificate, for brokers that require one."""
    key_file: RelativePath | None = None
    """PEM file of the private key of `cert_file`; by default it is in `cert_file` as well."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file: needs `cert_file`, the certificate of the key")
        return self


class AddressOptions(QueueSourceOptions):
    """A broker with a URL."""

    SCHEMES: ClassVar[dict[str, int]] = {}
    """The schemes of the URL, each with its default port."""
    TLS_SCHEMES: ClassVar[frozenset[str]] = frozenset()
    """Those of them that mean TLS."""
    EXAMPLE: ClassVar[str] = ""
    SEVERAL: ClassVar[bool] = False
    """Whether the URL may name several hosts, separated by commas."""

    url: str = Field(min_length=1)
    """The address of the broker."""

    password: Secret | None = None
    """The password of the user in `url`."""

    tls: TlsOptions | None = None
    """Certificates, where the scheme of `url` means TLS."""

    @property
    def address(self) -> SplitResult:
        """The parts of the URL."""
        return urlsplit(self.url)

    @property
    def user(self) -> str | None:
        """The user in the URL."""
        return None if self.address.username is None else unquote(self.address.username)

    @property
    def secret(self) -> str | None:
        """The password as text, for the client library alone."""
        return None if self.password is None else self.password.get_secret_value()

    @property
    def host(self) -> str:
        """The first host in the URL."""
        return self.addresses[0][0]

    @property
    def port(self) -> int:
        """The port of the first host."""
        return self.addresses[0][1]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """The hosts in the URL with their ports, by default that of the scheme."""
        return _addresses(self.address.netloc, self.SCHEMES[self.address.scheme])

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.address.scheme in self.TLS_SCHEMES

    @property
    def anonymous(self) -> bool:
        """Whether the connection is encrypted, and shows the server no certificate of this client."""
        return self.secure and (self.tls is None or self.tls.cert_file is None)

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None without TLS. It reads files, so call it in a thread.

        Raises:
            SettingsError: a file cannot be used.
        """
        return tls_context(self.tls or TlsOptions()) if self.secure else None

    @model_validator(mode="before")
    @classmethod
    def _move_password(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        try:
            parts = urlsplit(given["url"])
        except ValueError:
            return given
        return move_password(given, parts)

    @field_validator("url")
    @classmethod
    def _known_address(cls, url: str) -> str:
        expected = f"expected {cls.EXAMPLE}"
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"found no address; {expected}") from None
        if parts.scheme not in cls.SCHEMES:
            raise ValueError(f"found {parts.scheme or 'no scheme'!r}; {expected}")
        found = _addresses(parts.netloc, cls.SCHEMES[parts.scheme])
        if "@" in parts.path + parts.query or not all(host for host, _ in found):
            # What looks like a host or a path may be the rest of a password with an '@' or a '/'.
            raise ValueError(f"found no host; {expected}; in a password write %40 for @, %2F for / and %3A for :")
        if not all(0 < port <= _LAST_PORT for _, port in found):
            raise ValueError(f"found no port; {expected}, the port a number from 1 to {_LAST_PORT}")
        if len(found) > 1 and not cls.SEVERAL:
            raise ValueError(f"found several hosts; {expected}")
        return url

    @model_validator(mode="after")
    def _tls_where_it_is_used(self) -> Self:
        if self.tls is not None and not self.secure:
            schemes = " or ".join(f"{scheme}://" for scheme in sorted(self.TLS_SCHEMES))
            raise ValueError(f"tls: the scheme {self.address.scheme}:// does not use it; set `url` to {schemes}")
        if self.password is not None and self.user is None and self.password_needs_user:
            raise ValueError(f"password: the URL names no user; {self.EXAMPLE}")
        return self

    @property
    def password_needs_user(self) -> bool:
        """Whether a password without a user is an error."""
        return True


def _addresses(netloc: str, default: int) -> list[tuple[str, int]]:
    """Return the hosts of a URL with their ports; a host that is none is empty, a port that is none is 0."""
    found = []
    for address in netloc.rpartition("@")[2].split(","):
        match = _ADDRESS.fullmatch(address)
        port = None if match is None else match["port"]
        found.append(("" if match is None else match["host"].strip("[]"), default if port is None else _port(port)))
    return found


def _port(text: str) -> int:
    return int(text) if _PORT.fullmatch(text) else 0


def tls_context(options: TlsOptions) -> ssl.SSLContext:
    """Return the TLS context of a client. It reads files, so call it in a thread.

    Raises:
        SettingsError: a file cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except OSError as exc:  # ssl.SSLError is one
        files = {"ca_file": options.ca_file, "cert_file": options.cert_file, "key_file": options.key_file}
        named = ", ".join(f"{name} {path}" for name, path in files.items() if path is not None)
        raise SettingsError(f"tls: {named} cannot be used: {exc}") from exc
    return context
