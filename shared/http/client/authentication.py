"""Adds credentials to the requests of a source."""

from collections.abc import Awaitable, Callable
from typing import Protocol, assert_never
from urllib.parse import quote_plus

import aiohttp
from yarl import URL

from shared.http.client.options import (
    ApiKeyOptions,
    AuthOptions,
    BasicAuthOptions,
    BearerAuthOptions,
    OAuth2Options,
)
from shared.http.client.tokens import Token, TokenCache
from shared.runtime.clock import Clock

AUTHORIZATION = "Authorization"


class Authentication(Protocol):
    """The credentials of one source."""

    @property
    def query_parameter(self) -> str | None:
        """The name of the query parameter that holds a secret; errors never show it."""
        ...

    async def headers(self) -> dict[str, str]:
        """Return the headers to add. Raises what a token request raises."""
        ...

    def query(self) -> dict[str, str]:
        """Return the query parameters to add."""
        ...

    def refused(self, sent: dict[str, str]) -> bool:
        """Note that the API answered 401 to these headers; return whether other ones may be accepted."""
        ...


class StaticCredentials:
    """Credentials that do not change."""

    def __init__(self, headers: dict[str, str] | None = None, query: dict[str, str] | None = None) -> None:
        self._headers = headers or {}
        self._query = query or {}

    @property
    def query_parameter(self) -> str | None:
        """The name of the query parameter that holds the key."""
        return next(iter(self._query), None)

    async def headers(self) -> dict[str, str]:
        """Return the headers to add."""
        return self._headers

    def query(self) -> dict[str, str]:
        """Return the query parameters to add."""
        return self._query

    def refused(self, sent: dict[str, str]) -> bool:  # noqa: ARG002 -- others look at it
        """There are no other credentials."""
        return False


class OAuth2Credentials:
    """A token that is renewed when it expires, and once when the API refuses it."""

    query_parameter = None

    def __init__(self, tokens: TokenCache) -> None:
        self._tokens = tokens

    async def headers(self) -> dict[str, str]:
        """Return the header with a token."""
        return {AUTHORIZATION: f"Bearer {await self._tokens.get()}"}

    def query(self) -> dict[str, str]:
        """Return no parameters."""
        return {}

    def refused(self, sent: dict[str, str]) -> bool:
        """Discard the token; a new one may be accepted."""
        self._tokens.discard(sent[AUTHORIZATION].removeprefix("Bearer "))
        return True


PostForm = Callable[[URL, dict[str, str], dict[str, str]], Awaitable[Token]]
"""Sends a form with headers to a token endpoint, and returns the token."""


def authentication(options: AuthOptions | None, post_form: PostForm, clock: Clock) -> Authentication:
    """Return the credentials that the settings name."""
    match options:
        case None:
            return StaticCredentials()
        case BasicAuthOptions():
            value = aiohttp.encode_basic_auth(options.username, options.password.get_secret_value())
            return StaticCredentials({AUTHORIZATION: value})
        case BearerAuthOptions():
            return StaticCredentials({AUTHORIZATION: f"Bearer {options.token.get_secret_value()}"})
        case ApiKeyOptions(place="header"):
            return StaticCredentials({options.name: options.value.get_secret_value()})
        case ApiKeyOptions():
            return StaticCredentials(query={options.name: options.value.get_secret_value()})
        case OAuth2Options():
            return OAuth2Credentials(TokenCache(lambda: post_form(*token_request(options)), clock))
        case _:
            assert_never(options)


def token_request(options: OAuth2Options) -> tuple[URL, dict[str, str], dict[str, str]]:
    """Return the URL, the form and the headers of a token request (RFC 6749, section 4.4.2)."""
    form = {"grant_type": "client_credentials", **options.parameters}
    if options.scope is not None:
        form["scope"] = options.scope
    secret = options.client_secret.get_secret_value()
    if options.credentials == "body":
        return URL(options.token_url), {**form, "client_id": options.client_id, "client_secret": secret}, {}
    return URL(options.token_url), form, {AUTHORIZATION: _basic(options.client_id, secret)}


def _basic(client_id: str, secret: str) -> str:
    # RFC 6749, section 2.3.1: both are form-encoded before they are joined.
    encoded = (quote_plus(each) for each in (client_id, secret))
    return aiohttp.encode_basic_auth(*encoded)
