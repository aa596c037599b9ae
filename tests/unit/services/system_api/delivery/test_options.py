"""Where events are delivered to."""

import pytest
from pydantic import ValidationError

from services.system_api.delivery.options import DeliverOptions


@pytest.mark.parametrize("url", ["https://relay.example.com/entity", "http://127.0.0.1:8080/entity", "https://[::1]/e"])
def test_an_address(url: str) -> None:
    assert DeliverOptions(url=url).url == url


@pytest.mark.parametrize(
    "url", ["relay", "ftp://relay/entity", "https:///entity", "https://user:secret@relay/entity", ""]
)
def test_what_is_no_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DeliverOptions(url=url)
    assert "expected an address such as https://relay.example.com/entity" in str(caught.value)
    assert "secret" not in str(caught.value)
