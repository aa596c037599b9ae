import asyncio
import contextlib
import logging

import pytest

from shared.runtime.clock import SystemClock
from shared.runtime.retry import FIRST_PAUSE, LONGEST_PAUSE, restarting


class Pauses(SystemClock):
    """Notes the pauses, which take no time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


class Work:
    """Fails as often as the test says, after some seconds, and runs from then on."""

    def __init__(self, clock: Pauses, *failures: BaseException | float) -> None:
        self._clock = clock
        self._failures = list(failures)
        self.running = asyncio.Event()

    async def run(self) -> None:
        await asyncio.sleep(0)
        while self._failures:
            found = self._failures.pop(0)
            if isinstance(found, BaseException):
                raise found
            self._clock.seconds += found
            if not found:
                return
        self.running.set()
        await asyncio.Event().wait()


async def pauses_of(*failures: BaseException | float) -> list[float]:
    clock = Pauses()
    work = Work(clock, *failures)
    task = asyncio.create_task(restarting("audit", work.run, clock))
    async with asyncio.timeout(60):
        await work.running.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    return clock.pauses


async def test_what_fails_runs_again_after_pauses_that_grow(caplog: pytest.LogCaptureFixture) -> None:
    assert await pauses_of(KeyError("x"), 0, asyncio.CancelledError()) == [1.0, 2.0, 4.0]
    told = [(each.message, each.__dict__["task"], each.__dict__["error"]) for each in caplog.records]
    assert told == [
        ("task failed; restarting", "audit", "'x'"),
        ("task failed; restarting", "audit", "audit ended unexpectedly"),
        ("task failed; restarting", "audit", "CancelledError"),
    ]
    assert {each.levelno for each in caplog.records} == {logging.ERROR}


async def test_pauses_are_bounded_and_short_again_once_it_has_run_for_long() -> None:
    found = await pauses_of(*(ValueError() for _ in range(8)), LONGEST_PAUSE, ValueError())
    assert found[6:] == [LONGEST_PAUSE, LONGEST_PAUSE, FIRST_PAUSE]


async def test_work_without_a_fault_is_not_disturbed() -> None:
    assert await pauses_of() == []
