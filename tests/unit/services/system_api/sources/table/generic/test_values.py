"""Values of a driver as JSON and as keys."""

import math
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.system_api.sources.table.generic.values import digest, encoded, key_of, key_values, text_of


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, "null"),
        (True, "true"),
        (9_007_199_254_740_993, "9007199254740993"),
        (1.5, "1.5"),
        (Decimal("12345678901234567890.10"), "12345678901234567890.10"),
        (Decimal("1E+3"), "1000"),
        ('a"b', '"a\\"b"'),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"\x00\xff"), '"AP8="'),
        (datetime(2026, 1, 31, 12, 0, 0, 5, tzinfo=UTC), '"2026-01-31T12:00:00.000005+00:00"'),
        (date(2026, 1, 31), '"2026-01-31"'),
        (time(12, 0, 1), '"12:00:01"'),
        (timedelta(days=1, seconds=2), '"1 day, 0:00:02"'),
        (uuid.UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
    ],
)
def test_a_value_keeps_what_it_says(value: Any, json: str) -> None:
    assert encoded(["v"], [value]) == (f'{{"v":{json}}}'.encode(), None)


@pytest.mark.parametrize("value", [math.nan, -math.inf, Decimal("NaN")])
def test_what_json_cannot_represent_is_an_error(value: Any) -> None:
    data, error = encoded(["a", "v"], [1, value])
    assert data.startswith(b'{"a":1,"v":"')
    assert error == f"column 'v' is {value}, which JSON cannot represent"


def test_a_lone_surrogate_is_an_error() -> None:
    data, error = encoded(["a", "v"], [1, "x\ud800"])
    assert data == b'{"a":1,"v":"\'x\\\\ud800\'"}'
    assert error == "a text has a character that UTF-8 cannot represent"


@pytest.mark.parametrize(
    ("values", "numbers", "key"),
    [
        ([7], [True], "7"),
        ([Decimal(7)], [True], "7"),
        ([Decimal("1.5")], [True], "1.5"),
        ([7, "a,b%"], [True, False], "7,a%2Cb%25"),
        ([uuid.UUID(int=1)], [False], "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_key_is_a_text_and_back(values: list[Any], numbers: list[bool], key: str) -> None:
    assert key_of(values) == key
    restored = key_values(key, numbers)
    assert [str(value) for value in restored] == [str(value) for value in values]
    assert [not isinstance(value, str) for value in restored] == numbers


def test_a_subject_may_be_a_date_and_digests_differ() -> None:
    assert text_of(date(2026, 1, 31)) == "2026-01-31"
    assert digest(b"a") != digest(b"b")
