"""The settings that all sources over HTTP share."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.http.client.options import ClientOptions, ClientTlsOptions, NetworkOptions, checked_url


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ftp://api.example/", "expected https://host/path"),
        ("api.example/orders", "expected https://host/path"),
        ("https:///orders", "expected https://host/path"),
        ("https://api.example:port/", "expected https://host/path"),
        ("https://api.example:99999/", "expected https://host/path"),
        ("https://me:secret@api.example/", "found credentials in the URL; expected them in `auth`"),
        ("https://api.example/#top", "found a fragment"),
        ("https://[::1/", "expected https://host/path"),
    ],
)
def test_urls_that_are_refused(url: str, error: str) -> None:
    with pytest.raises(ValueError, match=error) as caught:
        checked_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://api.example", "http://10.0.0.1:8080/a?b=c", "https://[::1]/x"])
def test_urls_that_are_accepted(url: str) -> None:
    assert checked_url(url) == url


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"auth": {"kind": "api_key", "name": "not a name", "value": "x"}}, "the name of a header"),
        ({"auth": {"kind": "magic"}}, "magic"),
        ({"tls": {"cert_file": "a.pem"}}, "they belong together"),
        ({"network": {"allow": ["10.0.0.1/8"]}}, "allow: '10.0.0.1/8' is no network"),
        ({"headers": {"X Y": "z"}}, "the name of a header"),
    ],
)
def test_settings_that_are_refused(options: Any, error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        ClientOptions.model_validate(options)


def test_secrets_are_not_shown() -> None:
    options = ClientOptions.model_validate(
        {
            "auth": {
                "kind": "oauth2",
                "token_url": "https://auth.example/t",
                "client_id": "me",
                "client_secret": "s3cret",
            }
        }
    )
    assert "s3cret" not in repr(options)


def test_an_address_in_a_url_is_checked_with_the_settings() -> None:
    with pytest.raises(ValueError, match=r"url: 169\.254\.169\.254 is a cloud metadata address; if it is intended"):
        NetworkOptions().check("url", "http://169.254.169.254/latest")
    NetworkOptions(allow=("169.254.169.254",)).check("url", "http://169.254.169.254/latest")
    NetworkOptions().check("url", "http://crm.internal/")


def test_a_client_certificate_needs_its_key() -> None:
    assert ClientTlsOptions().cert_file is None
