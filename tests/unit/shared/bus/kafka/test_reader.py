"""How long a read waits."""

import asyncio
from typing import cast

import pytest

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.fetcher import Fetcher
from shared.bus.kafka.reader import KafkaReader
from shared.errors import PositionLost
from tests.unit.shared.bus.kafka.fetching_brokers import OLD, OUT_OF_RANGE, Brokers, batch, response, run_all, running


def reader_of(brokers: Brokers, fetcher: Fetcher) -> KafkaReader:
    return KafkaReader(cast("Cluster", brokers), "t", fetcher)


@pytest.mark.parametrize("wait", [0.0, 0.01])
async def test_a_read_without_records_ends_after_its_wait(wait: float) -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher, asyncio.timeout(60):
        reader = reader_of(brokers, fetcher)
        while len(brokers.requests) < 3:
            assert await reader.read(wait=wait) == ()  # and other tasks run meanwhile, also without a wait
            if OLD in brokers._open:
                brokers.answer(OLD, response())


@pytest.mark.parametrize("wait", [None, 60.0])
async def test_a_read_returns_records_that_come_while_it_waits(wait: float | None) -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher, asyncio.timeout(60):
        reading = asyncio.ensure_future(reader_of(brokers, fetcher).read(wait=wait))
        await run_all()
        fetcher.updated.set()  # as a timer of another read, or a response without records
        await run_all()
        brokers.answer(OLD, response(batch(0, 2, epoch=5)))
        assert [record.offset for record in await reading] == [0, 1]


async def test_a_read_that_is_cancelled_takes_no_record() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher, asyncio.timeout(60):
        reader = reader_of(brokers, fetcher)
        reading = asyncio.ensure_future(reader.read(wait=60.0))
        await run_all()
        brokers.answer(OLD, response(batch(0, 2, epoch=5)))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert reading.cancelled()
        assert [record.offset for record in await reader.read(wait=60.0)] == [0, 1]


async def test_a_lost_position_is_checked_for_as_long_as_the_read_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unanswered(*_arguments: object, **_named: object) -> None:
        await asyncio.Event().wait()

    async def answered(*_arguments: object, **_named: object) -> dict[int, tuple[int, int]]:
        return {0: (40, 90)}

    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher, asyncio.timeout(60):
        reader = reader_of(brokers, fetcher)
        brokers.answer(OLD, response(code=OUT_OF_RANGE))
        await fetcher.updated.wait()
        monkeypatch.setattr("shared.bus.kafka.reader.bounds", unanswered)
        assert await reader.read(wait=0.01) == ()
        monkeypatch.setattr("shared.bus.kafka.reader.bounds", answered)
        with pytest.raises(PositionLost):
            await reader.read(wait=0.01)
