"""Calls that share a round: none is lost, none waits without end, and the bytes that wait are bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.protocol import Outgoing
from shared.errors import TooLarge, Unavailable
from shared.runtime.tasks import Tasks

MIB = 1024 * 1024


class Log:
    """Appends a round when the test says so, and records the calls of each."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.may_append = asyncio.Event()

    async def append_round(self, calls: list[Call]) -> None:
        self.rounds.append([call.topic for call in calls])
        await self.may_append.wait()
        for call in calls:
            call.finish()


@asynccontextmanager
async def running(append_round: Callable[[list[Call]], Awaitable[None]]) -> AsyncIterator[GroupCommit]:
    rounds = GroupCommit(append_round)
    async with Tasks() as tasks:
        tasks.keep("rounds", rounds.run())
        try:
            yield rounds
        finally:
            await tasks.cancel_all()
            await rounds.close()


async def join(rounds: GroupCommit, topic: str, size: int = 1) -> None:
    with rounds.caller():
        await rounds.join(topic, [Outgoing(b"k", b"v")], size)


async def run_all() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_calls_gather_while_a_round_is_in_flight() -> None:
    log = Log()
    async with running(log.append_round) as rounds, asyncio.TaskGroup() as callers:
        for topic in "abc":
            callers.create_task(join(rounds, topic))
            await run_all()
        assert log.rounds == [["a"]]
        log.may_append.set()
    assert log.rounds == [["a"], ["b", "c"]]


async def test_a_round_takes_what_fits_and_a_larger_call_goes_alone_and_in_order() -> None:
    log = Log()
    async with running(log.append_round) as rounds, asyncio.TaskGroup() as callers:
        for topic, size in {"first": 1, "b": 3 * MIB, "c": 2 * MIB, "huge": 5 * MIB, "d": 1}.items():
            callers.create_task(join(rounds, topic, size))
            await run_all()
        log.may_append.set()
    assert log.rounds == [["first"], ["b"], ["c"], ["huge"], ["d"]]


async def test_calls_without_room_are_accepted_later_and_in_order() -> None:
    log = Log()
    async with running(log.append_round) as rounds:
        callers = [asyncio.create_task(join(rounds, str(number), 4 * MIB)) for number in range(9)]
        await run_all()
        assert sum(len(held) for held in log.rounds) == 1
        late = asyncio.create_task(join(rounds, "late"))
        await run_all()
        log.may_append.set()
        await asyncio.gather(*callers, late)
    assert [topic for held in log.rounds for topic in held] == [*map(str, range(9)), "late"]


async def test_draining_waits_for_callers_that_have_not_joined_yet() -> None:
    log = Log()
    log.may_append.set()
    looked_up = asyncio.Event()

    async def slow_caller(rounds: GroupCommit) -> None:
        with rounds.caller():
            await looked_up.wait()
            await rounds.join("a", [Outgoing(b"k", b"v")], 1)

    async with running(log.append_round) as rounds:
        caller = asyncio.create_task(slow_caller(rounds))
        await run_all()
        draining = asyncio.create_task(rounds.drain())
        await run_all()
        assert not draining.done()
        looked_up.set()
        await draining
        await caller
    assert log.rounds == [["a"]]


async def test_closing_ends_calls_in_flight_calls_that_wait_and_calls_without_room() -> None:
    log = Log()
    async with running(log.append_round) as rounds:
        callers = [asyncio.create_task(join(rounds, str(number), 5 * MIB)) for number in range(6)]
        await run_all()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable] * 6
    with pytest.raises(Unavailable):
        await join(rounds, "after")


async def test_a_cancelled_caller_does_not_affect_the_others() -> None:
    log = Log()
    async with running(log.append_round) as rounds:
        gone, stays = (asyncio.create_task(join(rounds, topic)) for topic in "ab")
        await run_all()
        gone.cancel()
        await run_all()
        log.may_append.set()
        await stays
    assert gone.cancelled()


async def joining(rounds: GroupCommit, *sizes: int) -> list[asyncio.Task[None]]:
    """Join one call after the other, with their numbers as topics; the first one is in flight."""
    callers = []
    for number, size in enumerate(sizes):
        callers.append(asyncio.create_task(join(rounds, str(number), size)))
        await run_all()
    return callers


async def test_a_caller_that_is_gone_before_its_round_takes_its_call_back() -> None:
    log = Log()
    async with running(log.append_round) as rounds:
        first, gone, second, third = await joining(rounds, 1, 3 * MIB, 3 * MIB, 1)
        gone.cancel()
        await run_all()
        log.may_append.set()
        await asyncio.gather(first, second, third)
        async with asyncio.timeout(60):
            await rounds.drain()
    assert log.rounds == [["0"], ["2", "3"]]


async def test_a_call_that_was_put_off_may_be_taken_back_too() -> None:
    rounds_of, gates = [], {topic: asyncio.Event() for topic in "01"}

    async def append_round(calls: list[Call]) -> None:
        rounds_of.append([call.topic for call in calls])
        await gates[calls[0].topic].wait()
        for call in calls:
            call.finish()

    async with running(append_round) as rounds:
        first, second, gone = await joining(rounds, 1, 3 * MIB, 3 * MIB)
        gates["0"].set()
        await first
        await run_all()
        assert rounds_of == [["0"], ["1"]], "the third one is put off"
        gone.cancel()
        await run_all()
        gates["1"].set()
        await second
        async with asyncio.timeout(60):
            await rounds.drain()
    assert rounds_of == [["0"], ["1"]]


async def test_calls_that_are_taken_back_leave_their_room_to_others() -> None:
    log = Log()
    async with running(log.append_round) as rounds:
        first, *gone = await joining(rounds, *[4 * MIB] * 5)
        late = asyncio.create_task(join(rounds, "late", 4 * MIB))
        await run_all()
        for each in gone:
            each.cancel()
        await run_all()
        log.may_append.set()
        async with asyncio.timeout(60):
            await asyncio.gather(first, late)
    assert log.rounds == [["0"], ["late"]]


async def test_each_call_has_the_outcome_of_its_commit() -> None:
    async def append_round(calls: list[Call]) -> None:
        for call in calls:
            call.finish(TooLarge("b is too large") if call.topic == "b" else None)

    async with running(append_round) as rounds:
        first, second = await asyncio.gather(join(rounds, "a"), join(rounds, "b"), return_exceptions=True)
    assert first is None
    assert isinstance(second, TooLarge)
