import asyncio

import pytest

from services.experience_api.auth.turns import Turns
from services.experience_api.refusals import TOO_MANY_ATTEMPTS, Refused


async def test_one_name_has_one_turn_at_a_time_in_order_and_others_have_theirs() -> None:
    turns, found = Turns(), list[str]()
    proceed = asyncio.Event()

    async def take(name: str, label: str) -> None:
        async with turns.turn(name):
            found.append(label)
            await proceed.wait()

    tasks = [asyncio.create_task(take(name, label)) for name, label in (("a", "a1"), ("a", "a2"), ("b", "b1"))]
    await asyncio.sleep(0)
    assert found == ["a1", "b1"]
    proceed.set()
    await asyncio.gather(*tasks)
    assert found == ["a1", "b1", "a2"]
    assert not turns._queues


async def test_the_number_that_waits_is_limited_for_each_name() -> None:
    turns = Turns(limit=1)
    async with turns.turn("a"):
        with pytest.raises(Refused) as refused:
            async with turns.turn("a"):
                pytest.fail("had its turn")
        assert refused.value.refusal is TOO_MANY_ATTEMPTS
        assert refused.value.retry_after
        async with turns.turn("b"):
            pass
    async with turns.turn("a"):
        pass


async def test_a_cancelled_one_is_not_waited_for() -> None:
    turns = Turns()
    async with turns.turn("a"):
        waiting = asyncio.create_task(turns.turn("a").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with turns.turn("a"):
        pass
    assert not turns._queues
