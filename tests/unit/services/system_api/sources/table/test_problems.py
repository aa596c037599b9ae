"""What is wrong with the order values of a table."""

import pytest

from services.system_api.sources.table import problems
from services.system_api.sources.table.ledger import Ledger, Position, Row
from services.system_api.sources.table.time_scale import Microseconds


def ledger(*emitted: int, position: int | None = None) -> Ledger[int]:
    found: Ledger[int] = Ledger("m", int, {})
    found.take([Row(order, str(order), "", "s", b"{}") for order in emitted], None, complete=True)
    found.position = None if position is None else Position(position, None)
    return found


@pytest.mark.parametrize(
    ("position", "following", "waits", "expected"),
    [
        (None, None, False, None),
        (10, 10, False, None),
        (11, 10, False, "the sequence of the key was set back"),
        (None, 1, True, None),
        (None, 1, False, "4 rows have keys that the sequence has not given yet (its next value is 1)"),
        (None, 4, False, None),
    ],
)
def test_keys(position: int | None, following: int | None, waits: bool, expected: str | None) -> None:
    found = problems.of_keys(ledger(1, 2, 3, 4, position=position), following, 4, waits=waits)
    assert found is None if expected is None else str(found).startswith(expected)


@pytest.mark.parametrize(
    ("position", "now", "limit", "expected"),
    [
        (None, None, 2, None),
        (None, 0, 9, None),
        (None, 0, 2, "2 rows have times ahead of the server's clock"),
        (None, 2 * 10**9, 2, None),
        (6_000_000, 1_000_000, 9, "the server's clock is 5 s behind the rows that were read"),
        (6_000_000, 7_000_000, 9, None),
    ],
)
def test_times(position: int | None, now: int | None, limit: int, expected: str | None) -> None:
    found = problems.of_times(ledger(10**9, 10**9 + 1, position=position), now, limit, Microseconds())
    assert found is None if expected is None else str(found).startswith(expected)


@pytest.mark.parametrize(
    ("following", "unread", "wrong"), [(1, None, False), (8, 8, False), (9, 8, False), (7, 8, True)]
)
def test_keys_that_the_database_assigns(following: int, unread: int | None, wrong: bool) -> None:
    found = problems.of_assigned_keys(following, unread)
    assert (found is not None) == wrong
    if found is not None:
        assert found.startswith("the next key of the table is 7, and rows up to key 7 were read: rows with lower")
