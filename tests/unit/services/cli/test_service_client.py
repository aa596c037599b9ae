"""What the command line makes of the answers of a service."""

import json

import pytest

from services.cli.service_client import checked
from shared.errors import TrelayError

URL = "http://trelay:8081"


def test_an_object_is_the_answer() -> None:
    assert checked(URL, "system layer", 202, b'{"state": "paused"}') == b'{"state": "paused"}'


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (409, json.dumps({"detail": "source orders is paused"}).encode(), "answered 409: source orders is paused"),
        (502, b"<h1>Bad Gateway</h1>\n", "answered 502: <h1>Bad Gateway</h1>\\n"),
        (301, b"", "answered 301: "),
        (200, b"<html>", "is no system layer of Trelay"),
        (200, b"[]", "is no system layer of Trelay"),
        (500, b'"\xff"', "answered 500: "),
        (400, json.dumps({"detail": "a\x1b[31m" + "x" * 9999}).encode(), "answered 400: a\\x1b[31m"),
    ],
)
def test_everything_else_is_an_error_of_one_line(status: int, body: bytes, said: str) -> None:
    with pytest.raises(TrelayError) as caught:
        checked(URL, "system layer", status, body)
    assert str(caught.value).startswith(URL)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1100
    assert "\n" not in str(caught.value)
