"""Values of Python as JSON records."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    UnreadableDocument,
    encode_values,
    readable,
)
from shared.errors import Malformed, Unavailable


def test_values_keep_all_their_digits() -> None:
    data = encode_values(
        {
            "n": Decimal("12345678901234567890.10"),
            "i": 2**70,
            "f": 0.1,
            "b": b"\x00\xff",
            "d": date(2026, 1, 31),
            "t": datetime(2026, 1, 31, 12, tzinfo=UTC),
            "none": None,
            "list": [None, 1.5, {"a": "null"}],
        }
    )
    assert b'"n":12345678901234567890.10,"i":1180591620717411303424,"f":0.1,"b":"AP8=","d":"2026-01-31"' in data
    assert json.loads(data)["t"] == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"a": [1, {"b": float("nan")}]}, r"a\[1\]\.b: found nan; expected a finite number"),
        ({"a": (1.0, float("inf"))}, r"a\[1\]: found inf"),
        ({"a": None, "b": float("-inf")}, "b: found -inf"),
        ({"a": object()}, "not JSON"),
        ({"a": "\ud83d"}, "not JSON"),
    ],
)
def test_values_that_are_no_json_are_refused(values: object, fault: str) -> None:
    with pytest.raises(Malformed, match=fault):
        encode_values(values)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyError("x"), UnreadableDocument),
        (SystemError("a panic"), UnreadableDocument),
        (UnreadableDocument("broken"), UnreadableDocument),
        (OSError(5, "disk"), OSError),
        (Unavailable("gone"), Unavailable),
        (MemoryError(), MemoryError),
    ],
)
def test_records_end_with_an_error_that_has_a_meaning(error: Exception, raised: type[Exception]) -> None:
    def failing() -> Records:
        yield FoundRecord(b"1", "line 1")
        raise error

    records = readable(failing())
    assert next(records) == FoundRecord(b"1", "line 1")
    with pytest.raises(raised):
        next(records)
