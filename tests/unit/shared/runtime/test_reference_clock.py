from datetime import UTC, datetime

import pytest

from shared.runtime.clock import SystemClock
from shared.runtime.reference_clock import ReferenceClock


class Machine(SystemClock):
    """A clock that the test sets, and a reference."""

    def __init__(self) -> None:
        self.wall = 1_000_000.0
        self.steady = 50.0
        self.reference = 1_000_000.0
        self.answer_takes = 0.1

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.steady

    async def sleep(self, seconds: float) -> None:
        self.passes(seconds)

    def passes(self, seconds: float) -> None:
        self.wall, self.steady, self.reference = self.wall + seconds, self.steady + seconds, self.reference + seconds

    async def read(self) -> float:
        self.passes(self.answer_takes / 2)
        found = self.reference
        self.passes(self.answer_takes / 2)
        return found


async def test_it_is_the_clock_of_the_machine_until_it_is_compared() -> None:
    machine = Machine()
    clock = ReferenceClock(machine)
    assert (clock.time(), clock.monotonic()) == (1_000_000.0, 50.0)
    assert clock.now() == datetime.fromtimestamp(1_000_000, UTC)
    await clock.sleep(2.0)
    assert (clock.time(), clock.monotonic()) == (1_000_002.0, 52.0)


@pytest.mark.parametrize("ahead", [300.0, -300.0, 1.5])
async def test_a_clock_that_is_wrong_goes_by_the_reference(ahead: float) -> None:
    machine = Machine()
    machine.wall += ahead
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) == pytest.approx(ahead)
    machine.passes(60.0)
    assert clock.time() == pytest.approx(machine.reference)
    assert clock.now().timestamp() == pytest.approx(machine.reference)
    machine.wall = machine.reference  # it is set right
    assert clock.time() == machine.reference
    machine.wall -= 3600.0  # and wrong again, between two comparisons
    assert clock.time() == pytest.approx(machine.reference)


async def test_a_small_difference_changes_nothing() -> None:
    machine = Machine()
    machine.wall += 0.5
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) == pytest.approx(0.5)
    assert clock.time() == machine.wall


async def test_a_late_answer_tells_nothing() -> None:
    machine = Machine()
    machine.wall += 300.0
    machine.answer_takes = 1.5
    clock = ReferenceClock(machine)
    assert await clock.compare(machine.read) is None
    assert clock.time() == machine.wall
