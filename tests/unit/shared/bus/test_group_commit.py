"""Calls that share a round: none is lost, none waits for ever, and what waits is bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.protocol import Outgoing
from shared.errors import TooLarge, Unavailable
from shared.runtime.tasks import Tasks

MIB = 1024 * 1024


class Line:
    """Carries rounds out when it is told to, and remembers what each held."""

    def __init__(self) -> None:
        self.rounds: list[list[str]] = []
        self.free = asyncio.Event()

    async def carry_out(self, calls: list[Call]) -> None:
        self.rounds.append([call.topic for call in calls])
        await self.free.wait()
        for call in calls:
            call.end()


@asynccontextmanager
async def running(carry_out: Callable[[list[Call]], Awaitable[None]]) -> AsyncIterator[GroupCommit]:
    rounds = GroupCommit(carry_out)
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


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_calls_gather_while_a_round_is_on_its_way() -> None:
    line = Line()
    async with running(line.carry_out) as rounds, asyncio.TaskGroup() as callers:
        for topic in "abc":
            callers.create_task(join(rounds, topic))
            await settle()
        assert line.rounds == [["a"]]
        line.free.set()
    assert line.rounds == [["a"], ["b", "c"]]


async def test_a_round_takes_what_fits_and_a_larger_call_goes_alone_and_in_order() -> None:
    line = Line()
    async with running(line.carry_out) as rounds, asyncio.TaskGroup() as callers:
        for topic, size in {"first": 1, "b": 3 * MIB, "c": 2 * MIB, "huge": 5 * MIB, "d": 1}.items():
            callers.create_task(join(rounds, topic, size))
            await settle()
        line.free.set()
    assert line.rounds == [["first"], ["b"], ["c"], ["huge"], ["d"]]


async def test_those_without_room_are_accepted_later_and_in_order() -> None:
    line = Line()
    async with running(line.carry_out) as rounds:
        callers = [asyncio.create_task(join(rounds, str(number), 4 * MIB)) for number in range(9)]
        await settle()
        assert sum(len(held) for held in line.rounds) == 1
        late = asyncio.create_task(join(rounds, "late"))
        await settle()
        line.free.set()
        await asyncio.gather(*callers, late)
    assert [topic for held in line.rounds for topic in held] == [*map(str, range(9)), "late"]


async def test_draining_waits_for_callers_that_have_not_joined_yet() -> None:
    line = Line()
    line.free.set()
    looked_up = asyncio.Event()

    async def slow_caller(rounds: GroupCommit) -> None:
        with rounds.caller():
            await looked_up.wait()
            await rounds.join("a", [Outgoing(b"k", b"v")], 1)

    async with running(line.carry_out) as rounds:
        caller = asyncio.create_task(slow_caller(rounds))
        await settle()
        draining = asyncio.create_task(rounds.drain())
        await settle()
        assert not draining.done()
        looked_up.set()
        await draining
        await caller
    assert line.rounds == [["a"]]


async def test_closing_ends_those_on_their_way_those_that_wait_and_those_without_room() -> None:
    line = Line()
    async with running(line.carry_out) as rounds:
        callers = [asyncio.create_task(join(rounds, str(number), 5 * MIB)) for number in range(6)]
        await settle()
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(error) for error in found] == [Unavailable] * 6
    with pytest.raises(Unavailable):
        await join(rounds, "after")


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    line = Line()
    async with running(line.carry_out) as rounds:
        gone, stays = (asyncio.create_task(join(rounds, topic)) for topic in "ab")
        await settle()
        gone.cancel()
        await settle()
        line.free.set()
        await stays
    assert gone.cancelled()


async def test_each_call_ends_as_its_round_says() -> None:
    async def carry_out(calls: list[Call]) -> None:
        for call in calls:
            call.end(TooLarge("b is too large") if call.topic == "b" else None)

    async with running(carry_out) as rounds:
        first, second = await asyncio.gather(join(rounds, "a"), join(rounds, "b"), return_exceptions=True)
    assert first is None
    assert isinstance(second, TooLarge)
