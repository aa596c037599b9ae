"""The settings that all sources over HTTP share: where requests go, how they authenticate, and their limits."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator
from yarl import URL

from shared.http.client.addresses import NetworkRules, is_literal
from shared.http.client.pace import RateOptions
from shared.settings import Form, Options, RelativePath, Secret

_HEADER = Form(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", "the name of a header, such as X-Api-Key")
HeaderName = Annotated[str, _HEADER]
"""The name of a header (RFC 9110, section 5.6.2)."""

_HTTP = r"^https?://[^/?#@]+([/?].*)?$"


def checked_url(url: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """Return a URL as it is written.

    Raises:
        ValueError: it is no absolute URL of one of these schemes, or holds a password or a fragment.
    """
    expected = f"expected {schemes[-1]}://host/path"
    try:
        parts, parsed = urlsplit(url), URL(url)
        _ = parsed.port
    except ValueError as exc:
        raise ValueError(f"{expected}: {exc}") from exc
    if parts.scheme not in schemes or not parsed.host:
        raise ValueError(f"{expected}, found {url.partition('?')[0][:80]!r}" if "@" not in url else expected)
    if "@" in parts.netloc:
        raise ValueError("found credentials in the URL; expected them in `auth`, such as {kind: basic, …}")
    if parts.fragment:
        raise ValueError("found a fragment ('#…'), which is never sent; remove it")
    return url


_Allowed = Annotated[
    str, Form(r"^[A-Za-z0-9_.:/-]+$", "the name of a host, an address or a network, such as 10.0.0.0/8")
]

HttpUrl = Annotated[str, AfterValidator(checked_url), Field(min_length=1, json_schema_extra={"pattern": _HTTP})]
"""An absolute URL, without credentials."""


class BasicAuthOptions(Options):
    """A user name and a password (RFC 7617)."""

    kind: Literal["basic"]
    """A user name and a password."""
    username: str = Field(min_length=1)
    """The user name; without ':'."""
    password: Secret
    """The password."""


class BearerAuthOptions(Options):
    """A token in the header `Authorization: Bearer …` (RFC 6750)."""

    kind: Literal["bearer"]
    """A token that does not change."""
    token: Secret
    """The token."""


class ApiKeyOptions(Options):
    """A key in a header or in the query of each request."""

    kind: Literal["api_key"]
    """A key."""
    name: HeaderName
    """The name of the header or of the query parameter."""
    value: Secret
    """The key."""
    place: Literal["header", "query"] = "header"
    """Where the API expects the key."""


class OAuth2Options(Options):
    """OAuth 2.0 client credentials (RFC 6749, section 4.4). The token is kept until it expires."""

    kind: Literal["oauth2"]
    """Tokens for client credentials."""
    token_url: HttpUrl
    """The token endpoint of the authorization server."""
    client_id: str = Field(min_length=1)
    """The client identifier."""
    client_secret: Secret
    """The client secret."""
    scope: str | None = Field(default=None, min_length=1)
    """The scopes, with spaces between them."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """Further parameters of the token request, such as `audience` or `resource`."""
    credentials: Literal["basic", "body"] = "basic"
    """Where the client's credentials are: in the header `Authorization`, or in the body of the token request."""


AuthOptions = Annotated[
    BasicAuthOptions | BearerAuthOptions | ApiKeyOptions | OAuth2Options, Field(discriminator="kind")
]
"""How requests authenticate."""


class ClientTlsOptions(Options):
    """TLS to the API, where the system's certificate authorities are not enough."""

    ca_file: RelativePath | None = None
    """PEM file of the certificate authorities that the server's certificate is checked against; by default the
    system's."""
    cert_file: RelativePath | None = None
    """PEM file of a client certificate (mutual TLS), then the chain up to its authority."""
    key_file: RelativePath | None = None
    """PEM file of the private key of `cert_file`."""
    key_password: Secret | None = None
    """The password of the private key, if it is encrypted."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file, key_file: found one of them; they belong together")
        return self


class NetworkOptions(Options):
    """Which addresses the source may connect to, after redirects and DNS too. Addresses on the Internet are allowed."""

    allow: tuple[_Allowed, ...] = ()
    """Names of hosts, addresses and networks that are allowed as well: `[crm.internal, 10.1.0.0/16]`. The name of a
    host allows private and loopback addresses. Link-local, metadata and other special addresses must be named as such.
    """
    private: bool = False
    """Whether all private addresses are allowed (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7).
    """

    @model_validator(mode="after")
    def _readable(self) -> Self:
        try:
            self.rules()
        except ValueError as exc:
            raise ValueError(f"allow: {exc}") from exc
        return self

    def rules(self) -> NetworkRules:
        """Return the rules that these settings stand for."""
        return NetworkRules(self.allow, private=self.private)

    def check(self, setting: str, url: str) -> None:
        """Check the host of a URL where that is an address.

        Raises:
            ValueError: it is not allowed.
        """
        host = URL(url).host or ""
        refused = self.rules().refusal(host, host) if is_literal(host) else None
        if refused is not None:
            raise ValueError(f"{setting}: {host} is {refused}; if it is intended, add it to network.allow")


class ClientOptions(Options):
    """How requests are made."""

    headers: dict[HeaderName, str] = Field(default_factory=dict)
    """Headers of each request, such as `Accept: application/vnd.github+json`. A redirect to another host gets none of
    them."""
    auth: AuthOptions | None = None
    """How requests authenticate; by default they do not. A redirect to another host gets no credentials."""
    tls: ClientTlsOptions = ClientTlsOptions()
    """TLS to the API."""
    network: NetworkOptions = NetworkOptions()
    """Which addresses the source may connect to."""
    rate: RateOptions | None = None
    """The request budget. `Retry-After` and rate-limit headers are obeyed with and without one."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds for one request, from the connection to the end of the body."""
    longest_hold: float = Field(default=3600.0, gt=0)
    """Maximum seconds without a request that `Retry-After` or a rate-limit header can ask for."""
    response_limit: int = Field(default=16 * 1_048_576, ge=1024, le=256 * 1_048_576)
    """Maximum size of a response in bytes, decompressed. A larger one is an error: ask for smaller pages."""


class RequestOptions(ClientOptions):
    """How requests are made that belong to a poll or to an event."""

    propagate_trace: bool = False
    """Whether requests have the header `traceparent` (W3C Trace Context), so that the API can continue the trace of the
    poll or of the event. A redirect to another host does not get it."""
