from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from shared.settings.url_password import move_password


def moved(url: str, **given: object) -> dict[str, object]:
    return dict(move_password({"url": url, **given}, urlsplit(url)))


def test_a_password_is_decoded_and_leaves_the_url() -> None:
    found = moved("nats://ada:a%40b@one:1,two:2/path?x=1")
    assert found == {"url": "nats://ada@one:1,two:2/path?x=1", "password": SecretStr("a@b")}


def test_a_url_without_a_password_stays() -> None:
    assert moved("nats://ada@one", password="p") == {"url": "nats://ada@one", "password": "p"}


def test_a_password_in_both_is_refused() -> None:
    with pytest.raises(ValueError, match="found a password in `url` and in `password`"):
        moved("nats://ada:b@one", password="p")
