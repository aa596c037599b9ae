"""Where credentials go."""

from typing import Any

import pytest
from yarl import URL

from shared.http.client.authentication import Authentication, authentication, token_request
from shared.http.client.options import ClientOptions, OAuth2Options
from shared.http.client.tokens import Token
from shared.runtime.clock import SYSTEM_CLOCK

OAUTH = {
    "kind": "oauth2",
    "token_url": "https://auth.example/token",
    "client_id": "me: my self",
    "client_secret": "a+b",
    "scope": "read write",
    "parameters": {"audience": "orders"},
}


class Issuer:
    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def __call__(self, url: URL, form: dict[str, str], headers: dict[str, str]) -> Token:
        self.requests.append((url, form, headers))
        return Token(f"t{len(self.requests)}", 600)


def made(options: Any, issuer: Issuer | None = None) -> Authentication:
    auth = ClientOptions.model_validate({"auth": options}).auth
    return authentication(auth, issuer or Issuer(), SYSTEM_CLOCK)


@pytest.mark.parametrize(
    ("options", "headers", "query"),
    [
        (None, {}, {}),
        ({"kind": "basic", "username": "me", "password": "s"}, {"Authorization": "Basic bWU6cw=="}, {}),
        ({"kind": "bearer", "token": "abc"}, {"Authorization": "Bearer abc"}, {}),
        ({"kind": "api_key", "name": "X-Key", "value": "k"}, {"X-Key": "k"}, {}),
        ({"kind": "api_key", "name": "key", "value": "k", "place": "query"}, {}, {"key": "k"}),
    ],
)
async def test_static_credentials(options: Any, headers: dict[str, str], query: dict[str, str]) -> None:
    credentials = made(options)
    assert await credentials.headers() == headers
    assert credentials.query() == query
    assert credentials.query_parameter == next(iter(query), None)
    assert not credentials.refused(headers)


async def test_a_refused_token_is_renewed() -> None:
    issuer = Issuer()
    credentials = made(OAUTH, issuer)
    sent = await credentials.headers()
    assert sent == await credentials.headers() == {"Authorization": "Bearer t1"}
    assert credentials.refused(sent)
    assert await credentials.headers() == {"Authorization": "Bearer t2"}
    assert credentials.refused(sent)  # an older token that comes back late does not discard the newer one
    assert await credentials.headers() == {"Authorization": "Bearer t2"}
    assert credentials.query() == {}
    assert credentials.query_parameter is None


def test_a_token_request_encodes_the_credentials() -> None:
    url, form, headers = token_request(OAuth2Options.model_validate(OAUTH))
    assert str(url) == "https://auth.example/token"
    assert form == {"grant_type": "client_credentials", "audience": "orders", "scope": "read write"}
    assert headers == {"Authorization": "Basic bWUlM0ErbXkrc2VsZjphJTJCYg=="}


def test_the_credentials_can_be_in_the_body() -> None:
    options = {name: value for name, value in OAUTH.items() if name not in {"scope", "parameters"}}
    _, form, headers = token_request(OAuth2Options.model_validate(options | {"credentials": "body"}))
    assert form == {"grant_type": "client_credentials", "client_id": "me: my self", "client_secret": "a+b"}
    assert headers == {}
