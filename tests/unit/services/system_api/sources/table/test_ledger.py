"""Every committed row is emitted once, despite late commits and crashes of the reader."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.system_api.sources.table.ledger import Ledger, Position, Row
from shared.errors import SettingsError
from tests.unit.services.system_api.sources.table.simulation import Database, Reader


def row(order: int, key: str | None = None) -> Row[int]:
    return Row(order, key or str(order), "", "s", b"{}")


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), by_time=st.booleans(), limit=st.integers(1, 12), steps=st.integers(10, 200))
def test_every_committed_row_is_emitted_exactly_once(seed: int, by_time: bool, limit: int, steps: int) -> None:
    rng = random.Random(seed)
    database = Database(rng, by_time)
    reader = Reader(database, rng, limit)
    for _ in range(steps):
        for _ in range(rng.randrange(5)):
            database.step()
        reader.poll(between=rng.randrange(3))
    database.finish()
    reader.crashes = False
    while reader.poll():
        pass
    assert sorted(reader.emitted) == sorted(database.committed)


def test_the_naive_watermark_loses_rows_in_the_same_simulation() -> None:
    rng = random.Random(11)
    database = Database(rng, by_time=False)
    watermark, emitted = 0, set[str]()
    for _ in range(500):
        database.step()
        for found in sorted(database.committed.values()):
            if found.order > watermark:
                watermark = found.order
                emitted.add(found.identity)
    assert len(emitted) < len(database.committed)


def test_final_rows_are_remembered_by_the_position_alone() -> None:
    ledger = Ledger("key", int, {})
    fresh, saved = ledger.take([row(1), row(2), row(3)], 10, complete=True)
    assert [found.order for found in fresh] == [1, 2, 3]
    assert ledger.position == Position(10, None)
    assert not ledger.emitted
    assert list(saved) == [""]


def test_a_checkpoint_at_an_order_value_reads_from_there() -> None:
    ledger = Ledger("key", int, Ledger("key", int, {}).checkpoint_at(5))
    assert ledger.position == Position(5, None)
    assert not ledger.emitted


def test_a_full_batch_moves_the_position_no_further_than_its_last_row() -> None:
    ledger = Ledger("key", int, {})
    ledger.take([row(1), row(2)], 10, complete=False)
    assert ledger.position == Position(2, "2")


def test_rows_above_the_horizon_are_remembered_individually_until_it_has_passed() -> None:
    ledger = Ledger("key", int, {})
    _, first = ledger.take([row(5), row(6)], 3, complete=True)
    assert first.keys() == {"", "e0"}
    assert set(ledger.emitted.values()) == {5, 6}
    fresh, second = ledger.take([row(4), row(5)], 3, complete=True)
    assert [found.order for found in fresh] == [4]
    assert second.keys() == {"", "e0"}
    nothing, third = ledger.take([], 6, complete=True)
    assert (nothing, third) == ([], {})
    assert set(ledger.emitted.values()) == {6}
    _, fourth = ledger.take([], 7, complete=True)
    assert fourth.keys() == {"", "e0"}
    assert fourth["e0"] is None
    assert not ledger.emitted


def test_a_poll_that_finds_nothing_saves_nothing() -> None:
    ledger = Ledger("key", int, {})
    ledger.take([row(1)], 10, complete=True)
    assert ledger.take([], 20, complete=True) == ([], {})


def test_it_resumes_from_what_was_saved() -> None:
    ledger = Ledger("key", int, {})
    _, saved = ledger.take([row(1), row(5)], 3, complete=True)
    again = Ledger("key", int, {part: value for part, value in saved.items() if value is not None})
    assert (again.position, again.emitted) == (ledger.position, ledger.emitted)
    assert again.take([row(5)], 3, complete=True)[0] == []
    assert again.take([row(6)], 3, complete=True)[1].keys() == {"", "e0"}


@pytest.mark.parametrize(
    "checkpoint",
    [{"": b"nonsense"}, {"": b'{"v":1}'}, {"e0": b"[]"}, {"": b'{"v":9,"mode":"key","position":null,"parts":0}'}],
)
def test_a_checkpoint_of_another_kind_is_an_error(checkpoint: dict[str, bytes]) -> None:
    with pytest.raises(SettingsError, match="checkpoint"):
        Ledger("key", int, checkpoint)


def test_a_changed_mode_is_an_error_with_a_remedy() -> None:
    _, saved = Ledger("key", int, {}).take([row(1)], 10, complete=True)
    with pytest.raises(SettingsError, match="another name"):
        Ledger("changed", int, {part: value for part, value in saved.items() if value is not None})


@pytest.mark.parametrize("orders", [(5, 6, 7, 8), (5, 5, 5, 5), (5, 5, 6, 6)])
def test_a_state_that_a_row_has_again(orders: tuple[int, ...]) -> None:
    """The version is a hash of the contents, and one order value may be that of a whole day."""
    ledger: Ledger[int] = Ledger("m", int, {})
    saved: dict[str, bytes | None] = {}
    identities = []
    for order, version in zip(orders, "abab", strict=True):
        row = Row(order, "k 1", version, "s", b"{}")
        assert not ledger.has_emitted(order, version, "k 1")
        ((fresh,), parts) = ledger.take([row], 1, complete=True)
        identities.append((fresh.order, fresh.identity))
        assert (fresh.key, fresh.version[0]) == ("k 1", version)
        saved |= parts
        ledger = Ledger("m", int, {part: value for part, value in saved.items() if value is not None})
        assert ledger.has_emitted(order, version, "k 1")
        assert ledger.take([row], 1, complete=True)[0] == []
    assert len(set(identities)) == 4
    last = Row(orders[-1], "k 1", "b", "s", b"{}")
    assert ledger.take([last], orders[-1] + 1, complete=True)[0] == []
    assert ledger.emitted == {}
    assert not ledger.has_emitted(orders[-1], "b", "k 1")


def test_a_version_that_is_the_text_of_a_time() -> None:
    """As that of a row of a view in PostgreSQL."""
    ledger: Ledger[int] = Ledger("m", int, {})
    row = Row(5, "k 1", "2026-01-31 12:34:56", "s", b"{}")
    fresh, saved = ledger.take([row], 1, complete=True)
    assert fresh == [row]
    ledger = Ledger("m", int, {part: value for part, value in saved.items() if value is not None})
    assert ledger.take([row], 1, complete=True)[0] == []
