"""Polls of a table: a failure changes nothing, and problems are reported."""

import random
from collections.abc import Sequence

import pytest

from services.system_api.sources.source import EventBuilder
from services.system_api.sources.table import source as table_source
from services.system_api.sources.table.ledger import Ledger, Row
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow, NullKeyRows
from services.system_api.sources.table.rereading import Rereading
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal, Limits, Memory, TableSource
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock


class ManualClock(SystemClock):
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.at = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class MemoryReader:
    """A table in memory."""

    def __init__(self) -> None:
        self.horizon: int | None = 0
        self.table: list[int] = []
        self.without_key: list[NullKeyRow] = []
        self.reported: str | None = None
        self.holds: str | None = "process 7"
        self.warns: str | None = None
        self.fails_at: str | None = None
        self.calls: list[str] = []

    async def observe(self) -> int | None:
        self._call("observe")
        return self.horizon

    async def rows(
        self, limit: int, _space: int, ledger: Ledger[int], below: int | None
    ) -> tuple[list[Row[int]], bool]:
        self._call("rows")
        place = -1 if ledger.position is None else ledger.position.order - (ledger.position.key is None)
        found = [Row(order, str(order), "", str(order), b"1234") for order in sorted(self.table) if order > place]
        found = [row for row in found if row.identity not in ledger.emitted and (below is None or row.order < below)]
        return found[:limit], len(found) < limit

    async def null_key_rows(self, _known: frozenset[str], _timeout: float) -> Sequence[NullKeyRow]:
        self._call("null_key_rows")
        return self.without_key

    def holder(self) -> str | None:
        return self.holds

    def warning(self) -> str | None:
        return self.warns

    def problem(self, _ledger: Ledger[int]) -> str | None:
        return self.reported

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if self.fails_at == name:
            self.fails_at = None
            raise Unavailable("connection refused")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def reader() -> MemoryReader:
    return MemoryReader()


@pytest.fixture
def signal() -> ChangeSignal:
    return ChangeSignal()


@pytest.fixture
def source(reader: MemoryReader, clock: ManualClock, signal: ChangeSignal) -> TableSource[int]:
    builder = EventBuilder("orders", "t", None, SYSTEM_CLOCK, random.Random(1))
    events: RowEvents[int] = RowEvents(builder, "orders", "id", 1000, lambda row: row.key, lambda _: None)
    return TableSource(
        reader,
        Memory(Ledger("m", int, {}), NullKeyRows({}), Rereading("m", int, {})),
        events,
        signal,
        Limits(early_limit=5, null_key_timeout=60.0),
        clock,
    )


async def polled(source: TableSource[int], limit: int = 10) -> list[int]:
    return [int(record.key or b"") for record in (await source.poll(limit)).records]


@pytest.mark.parametrize("method", ["observe", "rows", "null_key_rows"])
async def test_a_failed_poll_is_repeated_by_the_next(
    source: TableSource[int], reader: MemoryReader, method: str
) -> None:
    reader.table = [1, 2, 3]
    reader.without_key = [NullKeyRow("a", b"{}", "no key")]
    reader.fails_at = method
    with pytest.raises(Unavailable):
        await source.poll(10)
    batch = await source.poll(10)
    assert (len(batch.records), len(batch.rejects)) == (3, 1)
    assert batch.checkpoint.keys() == {"", "e0", "n"}


async def test_while_it_is_far_behind_it_does_not_observe(source: TableSource[int], reader: MemoryReader) -> None:
    reader.table = list(range(100))
    reader.horizon = 1000
    batch = await source.poll(10)
    assert batch.more
    reader.calls.clear()
    assert await polled(source) == list(range(10, 20))
    assert reader.calls == ["rows"]
    assert len(await polled(source, 1000)) == 80
    reader.calls.clear()
    await source.poll(10)
    assert "observe" in reader.calls


async def test_final_rows_stay_final_after_a_reader_has_reconnected(
    source: TableSource[int], reader: MemoryReader
) -> None:
    reader.horizon, reader.table = 10, [1]
    await source.poll(10)
    reader.horizon, reader.table = None, [1, 5, 20]
    assert await polled(source) == [20], "rows below the horizon were read"


async def test_above_early_limit_it_reads_final_rows_only_and_reports_it_when_that_lasts(
    source: TableSource[int], reader: MemoryReader, clock: ManualClock
) -> None:
    reader.horizon, reader.table = 10, [20, 21, 22, 23, 24]
    assert len(await polled(source)) == 5
    reader.table += [30]
    batch = await source.poll(10)
    assert (len(batch.records), batch.problems) == (0, ())
    [waiting] = batch.waiting
    assert waiting.startswith("a transaction stays open (process 7), and early_limit (5) rows were read")
    clock.at += table_source._STALL_TIMEOUT + 1
    batch = await source.poll(10)
    assert len(batch.problems) == 1
    assert "a transaction stays open" in batch.problems[0]
    assert batch.waiting == batch.problems
    reader.holds = None
    assert "rows are not final yet" in (await source.poll(10)).waiting[0]
    reader.horizon = 25
    assert (await source.poll(10)).problems == ()
    assert await polled(source) == [30]


async def test_rows_without_a_key_are_searched_at_an_interval(
    source: TableSource[int], reader: MemoryReader, clock: ManualClock
) -> None:
    for _ in range(3):
        await source.poll(10)
    assert reader.calls.count("null_key_rows") == 1
    clock.at += table_source._NULL_KEY_INTERVAL
    reader.without_key = [NullKeyRow(f"{number}", b"{}", "no key") for number in range(LIMIT + 1)]
    batch = await source.poll(10)
    assert len(batch.rejects) == LIMIT
    assert batch.problems == (
        "more than 1000 rows have no key or no time: no more are dead-lettered until some are corrected",
    )


async def test_a_search_for_rows_without_a_key_that_always_fails_is_reported_and_stops_no_row(
    source: TableSource[int], reader: MemoryReader, clock: ManualClock
) -> None:
    reader.table, reader.fails_at = [1], "null_key_rows"
    with pytest.raises(Unavailable):
        await source.poll(10)
    for number in range(2, 5):
        reader.table, reader.fails_at = [*reader.table, number], "null_key_rows"
        batch = await source.poll(10)
        assert batch.records
        assert batch.problems == ("cannot search for rows without a key or a time: connection refused",)
        clock.at += table_source._NULL_KEY_INTERVAL
    reader.fails_at = None
    assert (await source.poll(10)).problems == ()


async def test_a_problem_of_the_reader_is_reported(source: TableSource[int], reader: MemoryReader) -> None:
    reader.reported = "the sequence was set back"
    batch = await source.poll(10)
    assert batch.problems == batch.waiting == ("the sequence was set back",)
    reader.reported, reader.warns = None, "another zone"
    batch = await source.poll(10)
    assert (batch.problems, batch.waiting) == (("another zone",), ())


async def test_rows_are_accounted_for(source: TableSource[int], reader: MemoryReader) -> None:
    reader.table, reader.without_key = [1, 2, 3], [NullKeyRow("a", b"{}", "no key")]
    batch = await source.poll(10)
    assert (batch.rows, batch.skipped) == (4, 0)
    assert len(batch.records) + len(batch.rejects) == 4


async def test_large_rows_are_read_in_small_numbers(
    source: TableSource[int], reader: MemoryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_source, "_MAX_BYTES", 40)
    reader.table, reader.horizon = list(range(50)), 100
    assert [len(await polled(source, 30)) for _ in range(3)] == [30, 10, 10]


async def test_a_poll_clears_earlier_notifications(source: TableSource[int], signal: ChangeSignal) -> None:
    signal.set()
    await source.wait_for_change()
    signal.set()
    await source.poll(10)
    assert not signal.event.is_set()


async def test_constant_notifications_do_not_cause_constant_polls(
    source: TableSource[int], signal: ChangeSignal, clock: ManualClock
) -> None:
    await source.poll(10)
    signal.set()
    await source.wait_for_change()
    assert clock.slept == [table_source._MIN_PAUSE]
    clock.at += 1
    await source.wait_for_change()
    assert clock.slept == [table_source._MIN_PAUSE], "after a while without polls it returns at once"
