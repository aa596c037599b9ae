"""Cursors belong to one request and one topic."""

import pytest

from services.process_api.dead_letters.cursor import Cursor, digest, parse_cursor
from services.process_api.dead_letters.places import Place
from shared.errors import Malformed


def test_a_cursor_is_read_back() -> None:
    cursor = Cursor("epoch", "request", (0, 9), {0: 12}, "operation", 5)
    assert parse_cursor(cursor.encode(), "epoch", "request") == cursor
    assert cursor.place == Place(0, 9)
    assert Cursor("epoch", "request").place is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (3, "expected the text that an earlier answer has"),
        ("a" * 5000, "expected the text that an earlier answer has"),
        ("!!!", "cut short or altered"),
        ("é", "cut short or altered"),
        (Cursor("e", "r").encode()[:-3], "cut short or altered"),
        (Cursor("e", "another").encode(), "belongs to a request with other members"),
        (Cursor("another", "r").encode(), "was created anew"),
    ],
    ids=["number", "long", "no-base64", "no-ascii", "short", "other-request", "other-topic"],
)
def test_a_wrong_cursor_is_refused(given: object, text: str) -> None:
    with pytest.raises(Malformed, match=text):
        parse_cursor(given, "e", "r")


def test_a_digest_tells_requests_apart() -> None:
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"}) != digest({"a": "1"})
