"""By which columns the rows of a table can be ordered."""

import pytest

from services.system_api.sources.table.postgresql.shape import Key, Shape, order_error, order_type
from services.system_api.sources.table.time_scale import Days, Floats, Integers, Microseconds, TimeUnit

NO_KEY = (
    "column 'c' is text; set `updated_at_column`, or a key that is an integer and grows, or `mode: diff`"
    " for a small table"
)


@pytest.mark.parametrize(
    ("by_time", "type_", "expected"),
    [
        (False, "smallint", "bigint"),
        (False, "bigint", "bigint"),
        (False, "text", None),
        (True, "timestamp with time zone", "timestamptz"),
        (True, "timestamp without time zone", "timestamp"),
        (True, "date", "date"),
        (True, "bigint", "bigint"),
        (True, "double precision", "float8"),
        (True, "text", None),
    ],
)
def test_rows_can_be_ordered_by_some_types(by_time: bool, type_: str, expected: str | None) -> None:
    assert order_type(type_, by_time=by_time) == expected


def test_the_error_for_any_other_type_says_what_to_do() -> None:
    assert order_error("c", "text", by_time=False) == NO_KEY
    assert order_error("c", "text", by_time=True).startswith(
        "column 'c' is text; expected timestamp, timestamptz, date"
    )
    assert "within two minutes; make it double precision" in order_error("c", "real", by_time=True)


@pytest.mark.parametrize(
    ("keys", "column", "type_", "mode"),
    [
        (["id"], None, "bigint", "by id (bigint)"),
        (["id"], "at", "timestamptz", "by at (timestamptz)"),
        (["a", "b"], "at", "timestamp", "by at, a, b (timestamp)"),
        (["id"], None, "diff", "diff by id"),
        (["id"], None, "outbox", "outbox by id"),
    ],
)
def test_the_mode_names_the_order_column_and_its_type(
    keys: list[str], column: str | None, type_: str, mode: str
) -> None:
    shape = Shape(
        "t",
        '"t"',
        tuple(Key(key, "uuid") for key in keys),
        (column,) if column else (),
        type_,
        "UTC",
        None,
        None,
        None,
        (),
        versioned=True,
    )
    assert (shape.order_column, shape.mode) == (column or "id", mode)
    assert shape.order == f't."{column or "id"}"'
    assert shape.key_columns == [f't."{key}"' for key in keys]
    assert shape.by_time == (column is not None)
    assert shape.nullable_columns == []


@pytest.mark.parametrize(
    ("type_", "unit", "zone", "scale", "local", "spread"),
    [
        ("timestamptz", None, "UTC", Microseconds(), False, 0),
        ("timestamp", None, "UTC", Microseconds(), True, 0),
        ("date", None, None, Days(), False, 12 * 3600),
        ("date", None, "UTC", Days(), True, 0),
        ("bigint", "milliseconds", None, Integers(1000), False, 0),
        ("float8", "seconds", None, Floats(1), False, 0),
    ],
)
def test_the_order_values_of_times(
    type_: str, unit: TimeUnit | None, zone: str | None, scale: object, local: bool, spread: float
) -> None:
    shape = Shape(
        "t", '"t"', (Key("id", "uuid"),), ("at",), type_, zone, None, None, None, (), versioned=True, time_unit=unit
    )
    assert type(shape.scale) is type(scale)
    assert (shape.local, shape.spread) == (local, spread)
    assert shape.scale.at(10**15) == scale.at(10**15)
