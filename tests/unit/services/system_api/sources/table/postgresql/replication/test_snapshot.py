"""Which rows of a snapshot are published."""

from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.postgresql.replication.snapshot import Portion, Start, Visible


def portion(*rows: tuple[str, int], visible: str = "10:20:12,15") -> Portion:
    found = [Row(0, key, f"{xid}", key, b"{}") for key, xid in rows]
    return Portion(found, rows[-1][0], complete=True, visible=Visible.parse(visible), upto=0)


def keys(found: Portion, start: str = "10:20:12,15", seen: tuple[int, ...] = ()) -> list[str]:
    return [row.key for row in found.current(Start.resumed(start, seen))]


def test_transactions_that_are_visible() -> None:
    visible = Visible.parse("10:20:12,15")
    assert [xid for xid in (9, 12, 14, 15, 19, 20, 25) if visible.contains(xid)] == [9, 14, 19]
    assert Visible.parse("10:20:").contains(12)
    again = Visible.parse(f"{2**32 + 1}:{2**32 + 3}:{2**32 + 2}")
    assert [xid for xid in (2**32 - 5, 1, 2, 3) if again.contains(xid)] == [2**32 - 5, 1]


def test_a_row_that_another_transaction_has_changed_is_left_out() -> None:
    found = portion(("a", 5), ("b", 5), ("c", 5))
    found.note(12, "a")
    found.note(11, "b")
    assert keys(found) == ["b", "c"]
    found.note(11, None)
    assert keys(found) == ["b", "c"]
    found.note(20, None)
    assert keys(found) == []


def test_a_state_that_is_in_the_log_is_left_out() -> None:
    found = portion(("a", 5), ("b", 12), ("c", 14), ("d", 21), ("e", 2), visible="30:30:")
    assert keys(found, seen=(14,)) == ["a", "e"]


def test_after_ids_were_given_again_every_row_is_published() -> None:
    found = portion(("a", 21), visible=f"{2**32 + 30}:{2**32 + 30}:")
    assert keys(found) == ["a"]
