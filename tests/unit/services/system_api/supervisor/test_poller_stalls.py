"""A source that hangs: it is restarted, and never without limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.system_api.operations.requests import Command
from services.system_api.sources.source import Checkpoint, Source
from shared.errors import Unavailable
from tests.unit.services.system_api.harness import OPTIONS, Harness, InstantClock, Numbers, numbers


class DeafNumbers(Numbers):
    """Its wait for a change ignores the end of the interval, as a driver does that swallows cancellations."""

    async def wait_for_change(self) -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            if self.last > 10:
                return


async def test_a_wait_for_a_change_that_never_ends_is_a_stall() -> None:
    harness, deaf = Harness(last=10), list[DeafNumbers]()

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        start = int(checkpoint.get("", b"0")) + 1
        kind = Numbers if deaf else DeafNumbers
        source = kind(start, harness.last, harness.before)
        if isinstance(source, DeafNumbers):
            deaf.append(source)
        yield source

    options = OPTIONS.model_copy(update={"poll_timeout": 0.05})
    async with harness.running(harness.poller(options, open_source)):
        await harness.until(lambda: len(harness.published()) == 10)
        harness.last = 12
        await harness.until(lambda: bool(harness.alerts.calls))
        assert "waiting for a change took longer than 0.05 s" in harness.alerts.calls[0].text
        deaf[0].last = 11  # lets the abandoned one end
        await harness.until(lambda: len(harness.published()) == 12)
    assert harness.published() == numbers(12)


async def test_a_wait_for_a_change_that_fails_is_not_an_outage() -> None:
    class BrokenNotifications(Numbers):
        async def wait_for_change(self) -> None:
            raise Unavailable("the connection for notifications is lost")

    harness = Harness(last=5)
    source = BrokenNotifications(1, 5, harness.before)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield source

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.published()) == 5)
        source.last = 8
        await harness.until(lambda: len(harness.published()) == 8)
    assert harness.alerts.calls == []


async def test_runs_that_cannot_be_cancelled_are_not_started_without_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.system_api.supervisor.poller._CANCEL_TIMEOUT", 0.01)
    release = asyncio.Event()

    async def hang(_next: int) -> None:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    harness = Harness(before=hang)
    async with harness.running(harness.poller(OPTIONS.model_copy(update={"poll_timeout": 0.02}))) as poller:
        await harness.until(lambda: "restart this replica" in (poller.status.error or ""))
        assert len(harness.opened) == 3
        release.set()
        await harness.until(lambda: len(harness.published()) == 25)
    assert harness.published() == numbers(25)


class LeapingClock(InstantClock):
    """Its time leaps ahead when a test says so."""

    leapt = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leapt


async def test_a_rewind_whose_steps_take_longer_than_a_poll_may_is_no_stall() -> None:
    """Such as to the end of a list of a thousand pages, none of which takes long."""
    clock = LeapingClock()
    harness = Harness(last=5, clock=clock)

    class Distant(Numbers):
        steps = 0

        async def checkpoint_at(self, _place: object) -> Checkpoint:
            while (found := await self.seek_end()) is None:
                pass
            return found

        async def seek_end(self) -> Checkpoint | None:
            self.steps += 1
            clock.leapt += 0.9 * OPTIONS.poll_timeout
            # A request that changes nothing lets the poller look at its run.
            polls = control.current.polls
            await harness.operations.poll("numbers")
            await harness.until(lambda: control.current.polls > polls)
            for _ in range(20):
                await asyncio.sleep(0)
            return {"": b"30"} if self.steps == 5 else None

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield Distant(int(checkpoint.get("", b"0")) + 1, harness.last, harness.before)

    poller = harness.poller(open_source=open_source)
    control = harness.controls.of("numbers")
    async with harness.running(poller):
        await harness.until(lambda: len(harness.published()) == 5)
        harness.last = 35
        await harness.operations.request("numbers", Command.REWIND, '"end"', "oncall")
        await harness.until(lambda: len(harness.published()) == 10)
    assert harness.published() == numbers(5) + [b"%d" % number for number in range(31, 36)]
    assert harness.alerts.calls == []
