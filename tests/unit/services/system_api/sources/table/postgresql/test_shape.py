"""By which columns the rows of a table can be ordered."""

import pytest

from services.system_api.sources.table.postgresql.shape import Shape, order_error


@pytest.mark.parametrize(
    ("by_time", "type_", "error"),
    [
        (False, "bigint", None),
        (False, "text", "column 'c' is text; set `updated_at_column`, or a key that is an integer and grows"),
        (True, "timestamp with time zone", None),
        (True, "date", "column 'c' is date; expected timestamp or timestamptz"),
    ],
)
def test_rows_can_be_ordered_by_some_types(by_time: bool, type_: str, error: str | None) -> None:
    assert order_error("c", type_, by_time=by_time) == error


@pytest.mark.parametrize(
    ("column", "type_", "order_type", "mode"),
    [
        (None, None, "bigint", "by id (bigint)"),
        ("at", "timestamp with time zone", "timestamptz", "by at (timestamptz)"),
        ("at", "timestamp without time zone", "timestamp", "by at (timestamp)"),
    ],
)
def test_the_mode_names_the_order_column_and_its_type(
    column: str | None, type_: str | None, order_type: str, mode: str
) -> None:
    shape = Shape("t", "id", "uuid", column, type_, "UTC", "id", None, None, (), versioned=True)
    assert (shape.order, shape.order_type, shape.mode) == (column or "id", order_type, mode)
