"""The JSON in bodies and forms."""

import pytest

from services.system_api.sources.http.received.bodies import FORM, json_body
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("content_type", "body", "found"),
    [
        ("application/json", b'\xef\xbb\xbf{"a":1}', b'{"a":1}'),
        ("", b"{no json", b"{no json"),
        (FORM, b"payload=%7B%22a%22%3A1%7D&other=x", b'{"a":1}'),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", b"payload=1", b"1"),
        (FORM, b"a=1&b=x+y&a=2&c=", b'{"a":["1","2"],"b":"x y","c":""}'),
        (FORM, b"", b"{}"),
    ],
)
def test_a_body_has_json(content_type: str, body: bytes, found: bytes) -> None:
    assert json_body(content_type, body, "payload") == found


@pytest.mark.parametrize("body", [b"a=\xff", b"a=%ff", b"&".join([b"a=1"] * 10_001)])
def test_a_form_that_cannot_be_read(body: bytes) -> None:
    with pytest.raises(Malformed, match="the form cannot be read"):
        json_body(FORM, body, "payload")
