"""The progress of a snapshot of a table that is read in order."""

import pytest

from services.system_api.sources.table.ledger import Position, Row
from services.system_api.sources.table.rereading import PART, Rereading
from shared.errors import SettingsError


def row(order: int) -> Row[int]:
    return Row(order, f"{order}", "", f"{order}", b"{}")


def resumed(parts: dict[str, bytes | None]) -> Rereading[int]:
    return Rereading("m", int, {part: value for part, value in parts.items() if value is not None})


def test_a_snapshot_goes_on_where_it_was() -> None:
    again = resumed({})
    assert again.ledger is None
    parts = again.begin()
    assert again.ledger is not None
    found = resumed(parts).ledger
    assert found is not None
    assert found.position is None
    parts = again.reached([row(1), row(5)], complete=False)
    found = resumed(parts).ledger
    assert found is not None
    assert found.position == again.ledger.position == Position(5, "5")
    assert again.reached([], complete=False) == {}
    assert again.reached([row(7)], complete=True) == {PART: None}
    assert again.ledger is None


def test_a_part_of_something_else_is_refused() -> None:
    with pytest.raises(SettingsError, match="not that of a table source"):
        resumed({PART: b"{}"})
    found = resumed({PART: b'["a", "b"]'}).ledger
    assert found is not None
    assert found.position is None, "of another type: from the beginning"
