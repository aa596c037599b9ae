"""Values that make a page invalid are marked, and come back as they were."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.http.polling.unreadable import decoded, is_marked, marked, restored

BAD = [
    b'{"a":NaN}',
    b'{"a":-Infinity,"b":Infinity}',
    rb'{"a":"\ud83d"}',
    rb'{"a":"\\\ud83d and \udc00"}',
    b'{"a":"\xff\xfe"}',
    b'{"a":"\xed\xa0\xbd"}',  # half of a pair in CESU-8
]


@pytest.mark.parametrize("body", BAD)
def test_what_is_invalid_is_marked_and_restored(body: bytes) -> None:
    text = marked(decoded(body)).encode()
    json.loads(text)
    assert is_marked(text)
    assert restored(text) == body


@pytest.mark.parametrize(
    "body",
    [
        rb'{"a":"\ud83d\ude00"}',
        rb'{"a":"\\ud83d"}',
        b'{"a":"NaN"}',
        '{"a":"\U0001f600"}'.encode(),
        rb'{"\"NaN":"Infinity"}',
    ],
)
def test_what_is_valid_stays(body: bytes) -> None:
    text = marked(decoded(body)).encode()
    assert text == body
    assert not is_marked(text)


@given(st.binary(max_size=60))
def test_any_text_comes_back(body: bytes) -> None:
    text = b'"%b"' % body.replace(b'"', b"").replace(b"\\", b"/")
    assert restored(marked(decoded(text)).encode()) == text
