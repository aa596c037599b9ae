"""By which columns the rows of a table can be ordered."""

import pytest

from services.system_api.sources.table.postgresql.shape import order_error


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
