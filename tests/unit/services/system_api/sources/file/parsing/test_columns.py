"""Fields as rows: types, nulls, decimal separators, and errors that name the column."""

import json
from typing import Any

import pytest

from services.system_api.sources.file.parsing.columns import ColumnType, RowBuilder
from shared.errors import Malformed


def row(fields: list[str | None], types: dict[str, str] | None = None, time: str | None = None, **more: Any) -> Any:
    columns = ["id", "a", "b"][: len(fields)]
    chosen = {name: ColumnType(kind) for name, kind in (types or {}).items()}
    subject, data, when = RowBuilder(columns, "id", time, chosen, **more).row(fields)
    return subject, json.loads(data), when


def test_fields_are_members_and_one_is_the_subject() -> None:
    assert row(["1", "x", ""]) == ("1", {"id": "1", "a": "x", "b": ""}, None)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "-12", -12),
        ("number", "1.50", 1.5),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("json", '{"x":[1]}', {"x": [1]}),
        ("string", "1", "1"),
        ("integer", "", None),
        ("json", "", None),
        ("string", "", ""),
        ("number", None, None),
    ],
)
def test_types(kind: str, text: str | None, value: Any) -> None:
    assert row(["1", text], {"a": kind})[1]["a"] == value


@pytest.mark.parametrize(
    ("kind", "text", "error"),
    [
        ("integer", "1.5", "column 'a': found '1.5'; expected an integer"),
        ("number", "01", "column 'a': found '01'; expected a number"),
        ("number", "1e400", "column 'a': found '1e400'; expected a number of at most 1.8e308"),
        ("integer", "1" * 400, "expected an integer of at most 1.8e308"),
        ("boolean", "yes", "column 'a': found 'yes'; expected a boolean"),
        ("json", "[1e400]", r"column 'a': [0], byte 1: found the number 1e400"),
        ("json", "{", "column 'a': "),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_an_error_of_its_column(kind: str, text: str, error: str) -> None:
    with pytest.raises(Malformed) as caught:
        row(["1", text], {"a": kind})
    assert error in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("12,5", 12.5), ("-0,25", -0.25), ("7", 7), ("1,5e3", 1500.0)])
def test_a_comma_may_stand_before_the_fraction(text: str, value: float) -> None:
    assert row(["1", text], {"a": "number"}, decimal=",")[1]["a"] == value


@pytest.mark.parametrize("text", ["12.5", "1.234,5", "1,2,3", ",5", "x"])
def test_other_separators_are_errors_then(text: str) -> None:
    with pytest.raises(Malformed, match=f"found '{text}'; expected a number with ',' before its fraction"):
        row(["1", text], {"a": "number"}, decimal=",")


def test_some_texts_mean_null() -> None:
    assert row(["1", "NULL", "-"], {"a": "integer"}, nulls=["NULL", "-"])[1] == {"id": "1", "a": None, "b": None}
    with pytest.raises(Malformed, match="the subject is empty"):
        row(["NULL", "x"], nulls=["NULL"])


def test_the_time_has_an_offset() -> None:
    assert row(["1", "2026-01-31T12:00:00+01:00"], time="a")[2] == b"2026-01-31T12:00:00+01:00"
    assert row(["1", ""], time="a")[2] is None
    for text in ("2026-01-31", "2026-01-31T12:00:00"):
        with pytest.raises(Malformed, match=f"column 'a': found '{text}'; expected an RFC 3339 time with an offset"):
            row(["1", text], time="a")


def test_columns_are_distinct_and_those_that_are_named_exist() -> None:
    with pytest.raises(Malformed, match="found column 'a' twice"):
        RowBuilder(["id", "a", "a"], "id", None, {})
    for time, types in (("at", {}), (None, {"n": ColumnType.NUMBER})):
        with pytest.raises(Malformed, match=r"column '(at|n)' is missing; found 'id', 'a'"):
            RowBuilder(["id", "a"], "id", time, types)
    with pytest.raises(Malformed, match="the subject is empty"):
        row([""])
