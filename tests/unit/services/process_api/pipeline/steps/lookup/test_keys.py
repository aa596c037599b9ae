"""Keys, and values of databases."""

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.process_api.pipeline.steps.lookup.keys import Key, encoded, key_of, name_of, url_of
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("written", "key"),
    [
        (b'"C-9"', Key("C-9", "C-9")),
        (b"7", Key("7", 7)),
        (b"7.0", Key("7", 7.0)),
        (b"7.5", Key("7.5", 7.5)),
        (b"true", Key("true", True)),
        (b"false", Key("false", False)),
        (b"9007199254740993", Key("9007199254740993", 9007199254740993)),
        (b"null", None),
        (b'""', None),
        (None, None),
    ],
)
def test_a_key_is_what_the_expression_gives(written: bytes | None, key: Key | None) -> None:
    assert key_of(written) == key


@pytest.mark.parametrize("written", [b"[1]", b'{"a":1}'])
def test_an_array_or_an_object_is_no_key(written: bytes) -> None:
    with pytest.raises(Malformed, match="expected text, a number or a boolean"):
        key_of(written)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("12.50"), 12.5),
        (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC), "2026-01-02T03:04:05Z"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (dt.timedelta(minutes=1), "PT60S"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"ab", "YWI="),
        (memoryview(b"ab"), "YWI="),
        (complex(1, 2), "(1+2j)"),
        ({"a": [None, True]}, {"a": [None, True]}),
    ],
)
def test_values_of_databases_are_json(value: Any, expected: Any) -> None:
    assert json.loads(encoded(value)) == expected


def test_a_value_that_has_no_form_in_json_is_refused() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(Malformed, match="not JSON"):
        encoded(deep)


def test_numbers_are_named_by_their_value() -> None:
    assert {name_of(value) for value in (7, 7.0, Decimal("7.00"), "7")} == {"7"}
    assert name_of(Decimal("7.5")) == "7.5"
    assert name_of(Decimal("1E+999999999")) == "1E+999999999"
    assert name_of(float("nan")) == "nan"


def test_no_error_shows_a_secret_of_the_url() -> None:
    with pytest.raises(Malformed, match=r"path of 'https://api/\.\./x\?token=\*\*\*'"):
        url_of("https://api/../x?token=s3cret")
