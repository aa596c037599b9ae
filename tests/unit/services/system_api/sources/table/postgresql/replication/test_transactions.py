"""Changes of one table, with their places in the log."""

import pytest

from services.system_api.sources.table.postgresql.replication.pgoutput import MISSING
from services.system_api.sources.table.postgresql.replication.transactions import (
    Change,
    Diverged,
    LastChange,
    Place,
    Transactions,
)
from shared.errors import Malformed
from tests.unit.services.system_api.sources.table.postgresql.replication import messages

COLUMNS = [("id", 23, True), ("v", 25, False)]


def fed(*data: bytes, name: str = "orders", expected: LastChange | None = None) -> tuple[list[Change], Transactions]:
    transactions = Transactions("public", name, expected=expected)
    found = [transactions.feed(each, len(each)) for each in data]
    return [change for change in found if change is not None], transactions


def test_the_changes_of_the_table_are_numbered_in_their_transaction() -> None:
    found, transactions = fed(
        messages.begin(9),
        messages.relation(3, "orders", COLUMNS),
        messages.relation(4, "others", COLUMNS),
        messages.insert(3, ["1", "a"]),
        messages.insert(4, ["1", "a"]),
        messages.truncate(4, 3),
        messages.truncate(4),
        messages.insert(3, ["2", "b"]),
    )
    assert [(change.place, change.kind) for change in found] == [
        (Place(9, 1), "insert"),
        (Place(9, 2), "truncate"),
        (Place(9, 3), "insert"),
    ]
    assert transactions.reached == Place(9, 3)
    transactions.feed(messages.commit(9, 12), 0)
    assert transactions.reached == Place(12, 0) > Place(9, 3)
    assert found[0].new == [b"1", b"a"]
    assert (found[0].xid, found[0].time, found[1].relation) == (5, 7, None)


def test_the_name_of_a_table_at_the_time_of_the_change_counts() -> None:
    found, _ = fed(
        messages.begin(9),
        messages.relation(3, "orders", COLUMNS),
        messages.insert(3, ["1", "a"]),
        messages.relation(3, "orders_old", COLUMNS),
        messages.insert(3, ["2", "b"]),
        messages.relation(8, "orders", COLUMNS),
        messages.insert(8, ["3", "c"]),
    )
    assert [change.new and change.new[0] for change in found] == [b"1", b"3"]


@pytest.mark.parametrize(
    ("message", "old", "new"),
    [
        (messages.update(3, ["1", None], ["2", "?"]), [b"1", MISSING], [b"2", MISSING]),
        (messages.update(3, ["1", "x"], ["1", "?"], b"O"), [b"1", b"x"], [b"1", b"x"]),
        (messages.update(3, ["1", None], ["?", "y"]), [b"1", MISSING], [b"1", b"y"]),
        (messages.update(3, None, ["1", "y"]), None, [b"1", b"y"]),
        (messages.delete(3, ["1", None]), [b"1", MISSING], None),
        (messages.delete(3, ["1", None], b"O"), [b"1", None], None),
    ],
)
def test_what_is_known_of_the_row_before(message: bytes, old: object, new: object) -> None:
    (change,), _ = fed(messages.begin(9), messages.relation(3, "orders", COLUMNS), message)
    assert (change.old, change.new) == (old, new)


def test_a_change_outside_a_transaction_is_refused() -> None:
    with pytest.raises(Malformed, match="outside a transaction"):
        fed(messages.relation(3, "orders", COLUMNS), messages.insert(3, ["1", "a"]))


def test_a_log_that_has_the_transaction_which_was_published() -> None:
    found, transactions = fed(
        messages.begin(8),
        messages.commit(8, 9),
        messages.begin(9),
        messages.relation(3, "orders", COLUMNS),
        messages.insert(3, ["1", "a"]),
        messages.commit(9, 12),
        messages.begin(15),
        expected=LastChange(9, 1, xid=5, time=7),
    )
    assert len(found) == 1
    transactions.check_expected()


@pytest.mark.parametrize("expected", [LastChange(9, 1, 6, 7), LastChange(9, 1, 5, 8), LastChange(8, 1, 5, 7)])
def test_a_log_that_lacks_the_transaction_which_was_published(expected: LastChange) -> None:
    with pytest.raises(Diverged):
        fed(messages.begin(7), messages.commit(7, 8), messages.begin(9), expected=expected)


def test_a_log_that_ends_before_the_transaction_which_was_published() -> None:
    _, transactions = fed(messages.begin(7), messages.commit(7, 8), expected=LastChange(9, 1, 5, 7))
    with pytest.raises(Diverged):
        transactions.check_expected()
