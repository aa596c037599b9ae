"""The turns of other tasks."""

import asyncio

import pytest

from services.process_api.worker.turns import SLEEP_AFTER_SLOW, Turns
from shared.suspension.greenlets import suspendable, wait
from tests.unit.services.process_api.worker.test_filler import TickingClock


@pytest.mark.parametrize(("took", "rests"), [(0.001, []), (0.02, [0]), (1.0, [SLEEP_AFTER_SLOW])])
async def test_other_tasks_run_when_it_is_time(took: float, rests: list[float]) -> None:
    clock = TickingClock(0)
    turns = Turns(clock)
    clock.advance(took)
    await turns.breathe()
    assert clock.rests == rests
    assert turns.longest == took
    await turns.breathe()
    assert turns.longest == took


async def test_the_time_in_which_a_step_waits_is_not_counted() -> None:
    clock = TickingClock(0)
    turns = Turns(clock)
    clock.advance(100)
    turns.waited()
    await turns.breathe()
    assert (turns.longest, clock.rests) == (0, [])


async def test_what_is_due_is_found_without_waiting() -> None:
    clock = TickingClock(0)
    turns = Turns(clock)
    assert not turns.due()
    clock.advance(0.02)
    assert turns.due()
    assert clock.rests == []
    await turns.rest()
    assert not turns.due()
    assert (turns.longest, clock.rests) == (0.02, [0])


async def test_the_time_of_an_evaluation_in_which_other_tasks_ran_is_not_counted() -> None:
    async def evaluated() -> None:
        clock = TickingClock(0)
        turns = Turns(clock)
        clock.advance(100)
        wait(asyncio.sleep(0))
        assert not turns.due()
        assert turns.longest == 0
        clock.advance(0.02)
        assert turns.due()
        assert turns.longest == pytest.approx(0.02)

    await suspendable(evaluated())
