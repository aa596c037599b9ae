"""Responses that arrive after the leader has moved, and logs that were truncated."""

import asyncio

import pytest

from shared.bus.kafka.fetcher import Fetcher
from shared.bus.kafka.wire.fetch import FetchPosition
from tests.unit.shared.bus.kafka.fetching_brokers import (
    FENCED_LEADER_EPOCH,
    NEW,
    OLD,
    OUT_OF_RANGE,
    Brokers,
    batch,
    response,
    run_all,
    running,
)


def offsets(fetcher: Fetcher) -> list[int]:
    return [record.offset for record in fetcher.take(100)]


async def taken(fetcher: Fetcher) -> list[int]:
    async with asyncio.timeout(60):
        while not (found := offsets(fetcher)):
            fetcher.updated.clear()
            await fetcher.updated.wait()
    return found


@pytest.mark.parametrize("ignoring_cancellation", [False, True])
async def test_a_response_of_a_leader_that_was_replaced_is_discarded(ignoring_cancellation: bool) -> None:
    brokers = Brokers(ignoring_cancellation={OLD} if ignoring_cancellation else set())
    async with running(brokers, {0: 0}) as fetcher:
        brokers.move(0, NEW)
        await brokers.until_requested(2)
        brokers.answer(NEW, response(batch(0, 20, epoch=6)))
        assert await taken(fetcher) == list(range(20))
        brokers.answer(OLD, response(batch(0, 9, epoch=5)))
        await run_all()
        assert offsets(fetcher) == []
        assert fetcher.positions == {0: 20}
        brokers.ignoring_cancellation.clear()


async def test_the_connection_to_a_leader_that_was_replaced_is_dropped() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}):
        brokers.move(0, NEW)
        await brokers.until_requested(2)
        assert brokers.dropped == [OLD]


async def test_partitions_that_an_old_leader_still_leads_are_requested_again() -> None:
    brokers = Brokers(leaders={0: OLD, 1: OLD}, epochs={0: 5, 1: 2})
    async with running(brokers, {0: 0, 1: 7}):
        brokers.move(0, NEW)
        await brokers.until_requested(3)
        assert sorted(brokers.requests[1:]) == [(NEW, {0: FetchPosition(0, 6)}), (OLD, {1: FetchPosition(7, 2)})]


async def test_no_connection_is_dropped_while_there_is_no_leader() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.move(0, None)
        await run_all()
        assert brokers.dropped == []
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        assert await taken(fetcher) == [0, 1, 2]


async def test_a_response_for_another_position_than_the_current_one_is_discarded() -> None:
    brokers = Brokers(ignoring_cancellation={OLD})
    async with running(brokers, {0: 0}) as fetcher:
        first = brokers._open[OLD]
        fetcher.seek(0, 50)
        await brokers.until_requested(2)
        first.set_result(response(batch(0, 9, epoch=5)))
        brokers.answer(OLD, response(batch(50, 2, epoch=5)))
        assert await taken(fetcher) == [50, 51]
        assert fetcher.positions == {0: 52}
        brokers.ignoring_cancellation.clear()


async def test_each_request_has_the_epochs_of_the_leader_and_of_the_batch_read_last() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.answer(OLD, response(batch(0, 3, epoch=4)))
        assert await taken(fetcher) == [0, 1, 2]
        await brokers.until_requested(2)
        fetcher.seek(0, 1)
        await brokers.until_requested(3)
        assert [wanted[0] for _, wanted in brokers.requests] == [
            FetchPosition(0, 5, -1),
            FetchPosition(3, 5, 4),
            FetchPosition(1, 5, -1),
        ]


async def test_a_diverging_log_is_a_lost_position() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        brokers.answer(OLD, response(diverging=25))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert [(lost.offset, lost.diverging_offset) for lost in fetcher.lost.values()] == [(30, 25)]


async def test_a_position_that_the_leader_does_not_have_is_lost_until_a_seek() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        brokers.answer(OLD, response(code=OUT_OF_RANGE))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert [(lost.offset, lost.diverging_offset) for lost in fetcher.lost.values()] == [(30, None)]
        await run_all()
        assert len(brokers.requests) == 1
        fetcher.seek(0, 12)
        await brokers.until_requested(2)
        assert brokers.requests[1] == (OLD, {0: FetchPosition(12, 5)})


@pytest.mark.parametrize("how", ["code", "connection"])
async def test_a_fetch_is_repeated_after_a_pause_if_the_broker_is_not_the_leader(how: str) -> None:
    brokers = Brokers()
    async with running(brokers, {0: 30}) as fetcher:
        if how == "code":
            brokers.answer(OLD, response(code=FENCED_LEADER_EPOCH))
        else:
            brokers.fail(OLD)
        await brokers.until_requested(2)
        assert fetcher.positions == {0: 30}


async def test_while_a_leader_does_not_answer_the_others_are_asked_for_the_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.bus.kafka.fetcher._OVERDUE_AFTER", 0.01)
    brokers = Brokers()
    async with running(brokers, {0: 0}):
        async with asyncio.timeout(60):
            while brokers.refreshed < 2:
                await asyncio.sleep(0.005)
        assert len(brokers.requests) == 1


async def test_a_leader_that_does_not_answer_is_noticed_while_others_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.bus.kafka.fetcher._OVERDUE_AFTER", 0.01)
    brokers = Brokers(leaders={0: OLD, 1: NEW}, epochs={0: 5, 1: 5})
    async with running(brokers, {0: 0, 1: 0}):
        async with asyncio.timeout(60):
            while brokers.refreshed < 2:
                if NEW in brokers._open:
                    brokers.answer(NEW, response(partition=1))
                await asyncio.sleep(0.001)
        assert [broker for broker, _ in brokers.requests].count(OLD) == 1


async def test_a_leader_that_moves_before_its_records_are_taken_keeps_its_connection() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        await run_all()
        brokers.move(0, NEW)
        await run_all()
        assert (len(brokers.requests), brokers.dropped) == (1, [])
        assert offsets(fetcher) == [0, 1, 2]
        await brokers.until_requested(2)
        assert brokers.requests[1] == (NEW, {0: FetchPosition(3, 6, 5)})


async def test_a_seek_before_the_records_are_taken_requests_from_there() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        await run_all()
        fetcher.seek(0, 1)
        await brokers.until_requested(2)
        assert (brokers.requests[1], brokers.dropped) == ((OLD, {0: FetchPosition(1, 5)}), [])


async def test_no_request_follows_until_all_that_its_leader_returned_is_taken() -> None:
    brokers = Brokers(leaders={0: OLD, 1: NEW}, epochs={0: 5, 1: 5})
    async with running(brokers, {0: 0, 1: 0}) as fetcher:
        await brokers.until_requested(2)
        brokers.answer(OLD, response(batch(0, 3, epoch=5)))
        await run_all()
        assert [record.offset for record in fetcher.take(2)] == [0, 1]
        brokers.answer(NEW, response(partition=1))
        await brokers.until_requested(3)
        await run_all()
        assert [broker for broker, _ in brokers.requests[2:]] == [NEW]
        assert offsets(fetcher) == [2]
        await brokers.until_requested(4)
        assert brokers.requests[3] == (OLD, {0: FetchPosition(3, 5, 5)})


async def test_a_corrupt_batch_is_fetched_again() -> None:
    brokers = Brokers()
    async with running(brokers, {0: 0}) as fetcher:
        corrupt = bytearray(batch(0, 3, epoch=5))
        corrupt[-1] ^= 0xFF
        brokers.answer(OLD, response(bytes(corrupt)))
        async with asyncio.timeout(60):
            await fetcher.updated.wait()
        assert offsets(fetcher) == []
        assert "corrupt" in next(iter(brokers.problems.values()))
        await brokers.until_requested(2)
        assert brokers.requests[1][1] == {0: FetchPosition(0, 5)}
