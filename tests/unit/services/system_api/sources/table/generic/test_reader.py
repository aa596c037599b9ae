"""Rows in order, each state once: the reader on SQLite, whose texts stand in for the times of SQL Server."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import types

from services.system_api.sources.table.generic.reader import SCALE, GenericReader
from services.system_api.sources.table.generic.shape import Found, shape_of
from services.system_api.sources.table.ledger import Ledger
from services.system_api.sources.table.options import TableSourceOptions
from shared.errors import Malformed
from tests.unit.services.system_api.sources.table.generic.sqlite_dialect import NOW, SQLITE, MemoryDatabase

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


class ManualClock:
    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return self.at


class Harness:
    """A table `orders`, and what reads it."""

    def __init__(self, *, zoned: bool = False, **more: Any) -> None:
        timed = {"updated_at_column": "changed"} if more.pop("timed", True) else {}
        if timed and not zoned:
            timed["time_zone"] = more.pop("zone", "UTC")
        given = {"kind": "table", "url": "mssql://a@db/shop", "table": "orders", "type": "t", "overlap": 10}
        options = TableSourceOptions.model_validate(given | timed | more)
        columns: list[tuple[str, types.TypeEngine[Any]]] = [
            ("id", types.INTEGER()),
            ("changed", types.DateTime(timezone=zoned)),
            ("name", types.String()),
        ]
        found = Found(columns, [["id"]], view=False)
        self.database = MemoryDatabase(found, "CREATE TABLE orders (id INTEGER, changed TEXT, name TEXT)")
        shape = shape_of(found, options, SQLITE)
        self.clock = ManualClock()
        zone = ZoneInfo(options.time_zone or "UTC")
        clock: Any = self.clock
        self.reader = GenericReader(options, self.database, shape, SQLITE, zone, clock)
        self.ledger: Ledger[int] = Ledger(shape.mode, int, {})

    def write(self, *rows: tuple[int | None, str | None, str]) -> None:
        self.database.database.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)

    async def poll(self, limit: int = 100, max_bytes: int = 1_000_000) -> list[Any]:
        """Read once, and return the names of the new rows."""
        horizon = await self.reader.observe()
        rows, complete = await self.reader.rows(limit, max_bytes, self.ledger, None)
        fresh, _ = self.ledger.take(rows, horizon, complete=complete)
        return [json.loads(row.data)["name"] for row in fresh]


def at(offset: float, fraction: str = "0000000") -> str:
    """The time of a number of seconds after what the server's clock shows."""
    return f"{NOON + timedelta(seconds=offset):%Y-%m-%d %H:%M:%S}.{fraction}"


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_times_that_differ_in_digits_that_python_has_not_are_read_in_order_and_once(limit: int) -> None:
    table = Harness()
    table.write(*((number, at(-60, f"000000{9 - number}"), f"n{number}") for number in range(6)))
    found: list[str] = []
    while new := await table.poll(limit):
        found += new
    assert found == [f"n{number}" for number in (5, 4, 3, 2, 1, 0)]
    assert await table.poll() == []


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_many_rows_of_one_time_are_read_once(limit: int) -> None:
    table = Harness()
    table.write(*((number, at(-60), f"n{number}") for number in range(7)))
    found: list[str] = []
    while new := await table.poll(limit):
        found += new
    assert found == [f"n{number}" for number in range(7)]


async def test_a_row_that_is_committed_late_is_read_within_the_overlap() -> None:
    table = Harness()
    table.write((1, at(-3), "a"), (3, at(-1), "c"))
    assert await table.poll() == ["a", "c"]
    table.write((2, at(-8), "late"))
    assert await table.poll() == ["late"]
    assert await table.poll() == []
    assert len(table.ledger.emitted) == 3


async def test_an_update_is_a_new_state_and_the_same_state_is_not() -> None:
    table = Harness()
    table.write((1, at(-3), "a"))
    assert await table.poll() == ["a"]
    table.database.database.execute("UPDATE orders SET name = 'b', changed = ?", (at(-2),))
    assert await table.poll() == ["b"]
    assert await table.poll() == []


async def test_no_more_rows_are_read_than_fit() -> None:
    table = Harness()
    table.write(*((number, at(-60), "x" * 1000) for number in range(50)))
    rows, complete = await table.reader.rows(100, 5000, table.ledger, None)
    assert (len(rows), complete) == (5, False)
    assert table.database.read_rows == 5
    rows, complete = await table.reader.rows(10, 1_000_000, table.ledger, None)
    assert (len(rows), complete) == (10, False)


async def test_rows_above_a_bound_are_left_out() -> None:
    table = Harness()
    table.write((1, at(-60), "a"), (2, at(-1), "b"))
    rows, complete = await table.reader.rows(10, 1_000_000, table.ledger, await table.reader.observe())
    assert ([row.key for row in rows], complete) == (["1"], True)


async def test_the_horizon_of_local_times_waits_for_clocks_that_are_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Harness(zone="Europe/Berlin")
    text = "2026-10-25 00:30:00.0000000"  # half an hour before the clocks go from three back to two
    monkeypatch.setattr(table.database, "fetch", _returning(text))
    horizon = await table.reader.observe()
    assert horizon is not None
    assert SCALE.micros(horizon) == SCALE.micros(await table.reader.order_at(datetime(2026, 10, 25, 1, tzinfo=UTC)))


def _returning(value: Any) -> Any:
    async def fetch(*_: Any) -> Any:
        return [(value,)]

    return fetch


async def test_keys_are_final_once_the_overlap_is_over() -> None:
    table = Harness(timed=False)
    table.write((1, None, "a"), (3, None, "c"))
    assert await table.poll() == ["a", "c"]
    table.clock.at += 5
    table.write((2, None, "late"))
    assert await table.poll() == ["late"]
    table.clock.at += 20
    assert await table.poll() == []
    assert table.ledger.position is not None
    assert table.ledger.position.order == 3
    with pytest.raises(Malformed, match="has no times"):
        await table.reader.order_at(NOON)


async def test_an_empty_table_has_no_highest_key() -> None:
    table = Harness(timed=False)
    assert await table.poll() == []
    assert await table.reader.observe() is None


async def test_rows_without_a_key_or_a_time_are_named() -> None:
    table = Harness()
    table.write((None, at(-60), "a"), (2, None, "b"), (3, at(-60), "c"))
    found = await table.reader.null_key_rows(frozenset(), 5.0)
    assert sorted((json.loads(row.data)["name"], row.error) for row in found) == [
        ("a", "column 'id' is NULL"),
        ("b", "column 'changed' is NULL"),
    ]
    assert await table.poll() == ["c"]


@pytest.mark.parametrize("zoned", [True, False])
async def test_rows_are_counted_by_time(zoned: bool) -> None:
    table = Harness(zoned=zoned)
    table.write((1, at(-60), "a"), (2, at(-30), "b"), (3, at(0), "c"))
    assert await table.reader.count_between(NOON - timedelta(seconds=60), NOON) == 2


async def test_a_subject_may_be_another_column_or_missing() -> None:
    table = Harness(subject="name")
    table.write((1, at(-60), "a"), (2, at(-59), None))  # type: ignore[arg-type] # NULL
    rows, _ = await table.reader.rows(10, 1_000_000, table.ledger, None)
    assert [row.subject for row in rows] == ["a", None]


async def test_times_ahead_of_the_clock_are_a_problem() -> None:
    table = Harness(early_limit=100)
    assert at(0) == NOW
    table.write(*((number, at(3600), "x") for number in range(100)))
    await table.poll(1000)
    assert "100 rows have times ahead of the server's clock" in str(table.reader.problem(table.ledger))
