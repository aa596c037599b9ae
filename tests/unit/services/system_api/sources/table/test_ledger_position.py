"""When the position of a ledger stays, and which checkpoints a ledger rejects."""

import json

import pytest

from services.system_api.sources.table.ledger import Ledger, Position, Row
from shared.errors import SettingsError


def row(order: int) -> Row[int]:
    return Row(order, str(order), "", "s", b"{}")


def test_an_empty_read_moves_the_position_only_if_it_is_complete() -> None:
    ledger = Ledger("key", int, {})
    ledger.take([], 10, complete=False)
    assert ledger.position is None
    ledger.take([], 10, complete=True)
    assert ledger.position == Position(10, None)


def test_a_horizon_below_the_position_does_not_move_it_back() -> None:
    _, saved = Ledger("key", int, {}).take([row(1), row(9)], 10, complete=True)
    ledger = Ledger("key", int, {part: value for part, value in saved.items() if value is not None})
    assert ledger.position == Position(10, None)
    fresh, _ = ledger.take([row(11)], 5, complete=True)
    assert fresh == [row(11)]
    assert ledger.position == Position(10, None)


def test_a_checkpoint_with_an_order_value_of_another_type_is_refused() -> None:
    _, saved = Ledger("key", int, {}).take([row(1)], 10, complete=True)
    checkpoint = {part: value for part, value in saved.items() if value is not None}
    changed = json.loads(checkpoint[""]) | {"position": ["a text", None]}
    with pytest.raises(SettingsError, match="the checkpoint is at 'a text'; expected int"):
        Ledger("key", int, {**checkpoint, "": json.dumps(changed).encode()})
