"""Names are quoted whatever is in them, and a statement asks for no more than it must."""

import pytest

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql import statements

KEYED = statements.Shape(
    table='Shop.Order "s',
    key="Id",
    key_cast="integer",
    updated_at_column=None,
    updated_at_type=None,
    time_zone="UTC",
    subject="Id",
    columns=None,
    sequence="public.s",
    nullable=(),
    versioned=True,
)


def test_literals() -> None:
    assert statements.literal("it's") == "'it''s'"


def test_keys_are_asked_for_above_the_place() -> None:
    statement, arguments = statements.rows(
        KEYED, statements.ReadLimits(10, 1000, 100), Position(5, "5"), below=9, emitted=[" 6"]
    )
    assert 't."Id" > $1::bigint AND t."Id" < $2::bigint' in statement
    assert arguments == [5, 9, [" 6"], 10, 1000]
    assert 'ORDER BY t."Id"\n' in statement
    statement, arguments = statements.rows(
        KEYED, statements.ReadLimits(10, 1000, 100), Position(5, None), below=None, emitted=[]
    )
    assert 't."Id" >= $1::bigint' in statement
    assert arguments == [5, 10, 1000]


@pytest.mark.parametrize(
    ("by_time", "type_", "error"),
    [
        (False, "bigint", None),
        (False, "text", "column 'c' is text: give `updated_at_column`, or an integer key that grows"),
        (True, "timestamp with time zone", None),
        (True, "date", "column 'c' is date, expected timestamp or timestamptz"),
    ],
)
def test_what_rows_can_be_ordered_by(by_time: bool, type_: str, error: str | None) -> None:
    assert statements.order_error("c", type_, by_time=by_time) == error


def test_without_a_readable_sequence_there_is_no_bound_to_ask_for() -> None:
    assert statements.bound(KEYED) == "SELECT last_value + is_called::int FROM public.s"
