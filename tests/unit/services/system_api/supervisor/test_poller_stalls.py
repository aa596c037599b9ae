"""A source that hangs: it is restarted, and never without limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from services.system_api.sources.source import Checkpoint, Source
from shared.errors import Unavailable
from tests.unit.services.system_api.harness import OPTIONS, Harness, Numbers, numbers


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
