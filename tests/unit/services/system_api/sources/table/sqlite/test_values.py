"""Values of SQLite as JSON."""

import json
import math

import pytest

from services.system_api.sources.table.sqlite.values import BrokenText, Value, as_text, encoded, text


def test_every_type_is_exact() -> None:
    row: dict[str, Value] = {"i": 2**63 - 1, "f": 0.1, "t": "Zoë\n", "b": b"\x00", "n": None}
    data, error = encoded(list(row), list(row.values()))
    assert error is None
    assert json.loads(data) == row | {"b": "AA=="}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_json_cannot_represent(value: float) -> None:
    assert encoded(["a", "x"], [1, value]).error == f"column 'x' is {value}, which JSON cannot represent"


def test_text_that_is_not_utf8() -> None:
    assert text("ä".encode()) == "ä"
    data, error = encoded(["x"], [text(b"\xff")])
    assert (data, error) == (b'{"x":"/w=="}', "column 'x' is not UTF-8 text")


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("a", "a"), (5, "5"), (1.5, "1.5"), (b"\xff", "ff"), (BrokenText(b"a"), "61")]
)
def test_keys_and_subjects(value: Value, expected: str | None) -> None:
    assert as_text(value) == expected
