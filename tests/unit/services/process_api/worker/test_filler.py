"""How batches are filled."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.worker.filler import Filler, TransactionOptions
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.pace import Pace
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.turns import SLEEP_AFTER_SLOW
from shared.alerts import RecordingAlerts
from shared.bus.protocol import Record
from shared.errors import PositionLost
from shared.runtime.clock import SystemClock
from tests.unit.services.process_api.making import event, pipeline, record, selection
from tests.unit.services.process_api.pipeline.steps import functions
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, batches, waiting_pipeline


class Scripted:
    """A `Reader` that returns these lists, one for each read, and then nothing."""

    topic = "trelay.ingest"

    def __init__(self, *reads: Sequence[Record] | PositionLost) -> None:
        self.positions = {0: 0}
        self.asked: list[tuple[int, float | None]] = []
        self._reads = list(reads)

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        self.asked.append((limit, wait))
        if not self._reads:
            return ()
        found = self._reads.pop(0)
        if isinstance(found, PositionLost):
            raise found
        if found:
            self.positions[0] = found[-1].offset + 1
        return found

    def seek(self, partition: int, offset: int) -> None:
        self.positions[partition] = offset


class TickingClock(SystemClock):
    """A clock that advances whenever it is read, and while somebody sleeps."""

    def __init__(self, step: float = 0.02) -> None:
        self.time_passed = 0.0
        self.rests: list[float] = []
        self._step = step

    def advance(self, seconds: float) -> None:
        self.time_passed += seconds

    def monotonic(self) -> float:
        self.time_passed += self._step
        return self.time_passed

    async def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.time_passed += seconds
        await asyncio.sleep(0)


def filler(
    reader: Scripted,
    made: Pipeline | None = None,
    *,
    poison: PoisonTracker | None = None,
    pace: Pace | None = None,
    options: TransactionOptions | None = None,
    clock: SystemClock | None = None,
) -> Filler:
    chosen, time = made or pipeline(), clock or SystemClock()
    reporter = Reporter(RecordingAlerts(), ProcessMetrics(CollectorRegistry(), [chosen], time), time)
    return Filler(
        reader,
        lambda: selection(chosen),
        poison or PoisonTracker(),
        options or TransactionOptions(seconds=1000),
        reporter,
        pace or Pace(),
        time,
    )


def records(first: int, last: int) -> list[Record]:
    return [record(event({"n": offset}), offset) for offset in range(first, last + 1)]


async def test_a_batch_ends_as_soon_as_no_more_input_waits() -> None:
    reader = Scripted(records(0, 1), records(2, 4))
    batch, _ = await filler(reader).fill()
    assert (batch.first, batch.last, batch.count) == (0, 4, 5)
    assert reader.asked == [(1000, None), (998, 0), (995, 0)]


async def test_a_batch_ends_at_the_limit_of_events() -> None:
    reader = Scripted(records(0, 2), records(3, 4))
    batch, _ = await filler(reader, options=TransactionOptions(events=5, seconds=1000)).fill()
    assert (batch.count, reader.asked) == (5, [(5, None), (2, 0)])


async def test_a_batch_ends_at_the_limit_of_bytes() -> None:
    reader = Scripted(records(0, 2), records(3, 4))
    batch, _ = await filler(reader, options=TransactionOptions(bytes=100, seconds=1000)).fill()
    assert batch.count == 3


async def test_records_beyond_the_limit_of_bytes_are_the_next_batch() -> None:
    filling = filler(Scripted(records(0, 99)), options=TransactionOptions(bytes=2000, seconds=1000))
    first, _ = await filling.fill()
    second, _ = await filling.fill()
    assert (first.count, second.first, second.count) == (32, 32, 32)


async def test_a_batch_ends_at_the_limit_of_time() -> None:
    reader = Scripted(*[records(offset, offset) for offset in range(100)])
    batch, began = await filler(reader, options=TransactionOptions(seconds=1), clock=TickingClock()).fill()
    assert 1 < batch.count < 51
    assert began > 0


async def test_records_beyond_the_limit_of_time_are_the_next_batch() -> None:
    reader = Scripted(records(0, 999))
    filling = filler(reader, options=TransactionOptions(seconds=0.1), clock=TickingClock())
    seen: list[int] = []
    while len(seen) < 1000:
        batch, _ = await filling.fill()
        assert batch.count < 1000
        seen += [json.loads(made.value or b"")["data"]["n"] for made in batch.outputs]
    assert seen == list(range(1000))
    assert reader.asked == [(1000, None)]


async def test_records_run_one_by_one_after_a_slow_slice_and_other_tasks_get_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = TickingClock()
    monkeypatch.setattr(functions, "meanwhile", lambda _data: clock.advance(1.0))
    slow = pipeline({"python": "tests.unit.services.process_api.pipeline.steps.functions:slow"})
    pace, reader = Pace(), Scripted(records(0, 99))
    filling = filler(reader, slow, pace=pace, options=TransactionOptions(seconds=0.1), clock=clock)
    batch, _ = await filling.fill()
    assert batch.count == 32
    assert pace.slice == 1
    assert clock.rests[-1] >= 0.05
    for offset in range(32, 100):
        batch, _ = await filling.fill()
        assert (batch.first, batch.count) == (offset, 1)


async def test_an_isolated_record_is_a_batch_of_its_own_whatever_the_reader_returns() -> None:
    poison = PoisonTracker()
    poison.isolate(0, 1, "too large")
    reader = Scripted(records(0, 3))
    filling = filler(reader, poison=poison)
    batch, _ = await filling.fill()
    assert (batch.count, filling.isolated) == (1, True)
    batch, _ = await filling.fill()
    assert (batch.first, batch.count, filling.isolated) == (1, 1, True)
    batch, _ = await filling.fill()
    assert (batch.first, batch.count, filling.isolated) == (2, 2, False)
    assert reader.asked[0] == (1, None)


async def test_a_step_that_waits_for_something_ends_the_batch() -> None:
    made = pipeline({"filter": "n > 0"}, {"python": "tests.unit.services.process_api.pipeline.steps.functions:wait"})
    filling = filler(Scripted(records(0, 2)), made)
    batch, _ = await filling.fill()
    assert (batch.count, batch.last) == (1, 0)
    assert str(filling.blocked_by) == "the price list does not answer"


async def test_reading_resumes_behind_records_that_retention_deleted() -> None:
    reader = Scripted(PositionLost("trelay.ingest", 0, 0, 5), records(5, 6))
    batch, _ = await filler(reader).fill()
    assert (batch.first, batch.last) == (5, 6)


async def test_other_tasks_run_in_between() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(other())
        await filler(Scripted(records(0, 319)), clock=TickingClock()).fill()
        task.cancel()
    assert turns >= 9


class TestSteps:
    """Steps that wait."""

    async def test_the_records_behind_one_that_waits_are_the_next_batch(self) -> None:
        away = {"look": "first"}
        read = [record(event({"n": n} | (away if n == 2 else {})), n) for n in range(5)]
        filling = filler(Scripted(read), waiting_pipeline(LookUp()))
        batch, _ = await filling.fill()
        assert (batch.count, filling.next_offset, str(filling.blocked_by)) == (2, 2, "no answer")
        batch, _ = await filling.fill()
        assert (batch.first, batch.last, filling.blocked_by) == (2, 2, None)
        batch, _ = await filling.fill()
        assert (batch.first, batch.last, filling.blocked_by) == (3, 4, None)

    async def test_while_a_record_waits_those_behind_it_are_not_run_again(self) -> None:
        read = [record(event({"n": n} | ({"look": "away"} if n == 2 else {})), n) for n in range(9)]
        filling = filler(Scripted(read), waiting_pipeline(LookUp()))
        for _ in range(4):
            await filling.fill()
            assert str(filling.blocked_by) == "no answer"
        assert batches[-1] == [9, 1, 1, 1]

    async def test_a_batch_holds_the_bytes_of_a_transaction(self) -> None:
        filling = filler(
            Scripted(records(0, 99)), waiting_pipeline(LookUp()), options=TransactionOptions(bytes=500, seconds=1000)
        )
        batch, _ = await filling.fill()
        assert 0 < batch.count < 10
        second, _ = await filling.fill()
        assert second.first == batch.last + 1

    async def test_a_slow_batch_is_followed_by_records_one_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = TickingClock(0)
        poison = PoisonTracker()
        monkeypatch.setattr(functions, "meanwhile", lambda data: clock.advance(6.0 if data["n"] == 3 else 0))
        slow = waiting_pipeline(LookUp(), {"python": "tests.unit.services.process_api.pipeline.steps.functions:slow"})
        filling = filler(Scripted(records(0, 5)), slow, clock=clock, poison=poison)
        batch, _ = await filling.fill()
        assert (batch.count, clock.rests) == (6, [SLEEP_AFTER_SLOW])
        assert poison.rejection(record(event({"n": 3}), 3)) is None
        for _ in range(2):
            again = filler(Scripted(records(3, 3)), slow, clock=clock, poison=poison, pace=filling._pace)
            await again.fill()
        assert "rejected after 2 attempts" in (poison.rejection(record(event({"n": 3}), 3)) or "")
