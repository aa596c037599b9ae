"""A source whose code raises or returns what no source should: it is restarted, and reported once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.system_api.sources.source import Batch, Checkpoint, Source
from services.system_api.supervisor.status import State
from tests.unit.services.system_api.harness import Harness, Numbers, numbers


class Panic(BaseException):
    """As a library that is written in Rust raises it."""


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (asyncio.CancelledError(), "failed: the source was cancelled from within"),
        (SystemExit("no settings"), "failed: SystemExit: no settings"),
        (Panic("index out of bounds"), "failed: Panic: index out of bounds"),
        (BaseExceptionGroup("several", [Panic("a"), ValueError("b")]), "failed: BaseExceptionGroup: several"),
    ],
)
async def test_an_error_of_any_kind_is_reported_and_the_source_restarted(error: BaseException, text: str) -> None:
    fails = True

    async def fail(_next: int) -> None:
        if fails:
            raise error

    harness = Harness(before=fail)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: len(harness.opened) > 2)
        assert poller.status.state is State.DOWN
        assert len(harness.alerts.calls) == 1
        assert harness.alerts.calls[0].text.startswith(text)
        fails = False
        await harness.until(lambda: len(harness.published()) == 25)
        await harness.until(lambda: poller.status.state is State.RUNNING)
    assert harness.published() == numbers(25)
    assert harness.alerts.open == set()


TEXT: Any = {"": "7"}
NUMBER: Any = {7: b"7"}


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        (None, "TypeError: poll() returned NoneType; expected a Batch"),
        ([], "TypeError: poll() returned list; expected a Batch"),
        (Batch(checkpoint=TEXT), "poll() returned a checkpoint with str: str; expected str: bytes or None"),
        (Batch(checkpoint=NUMBER), "poll() returned a checkpoint with int: bytes; expected str: bytes or None"),
    ],
)
async def test_what_is_no_batch_is_told_with_its_type(returned: Batch, text: str) -> None:
    class Odd(Numbers):
        async def poll(self, limit: int) -> Batch:
            return returned

    harness = Harness()

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield Odd(1, 25, harness.before)

    async with harness.running(harness.poller(open_source=open_source)) as poller:
        await harness.until(lambda: poller.status.failures > 1)
        assert text in (poller.status.error or "")
    assert len(harness.alerts.calls) == 1
    assert harness.published() == []


async def test_a_wait_for_a_change_that_never_waits_lets_other_tasks_run() -> None:
    class Hasty(Numbers):
        polls = 0

        async def poll(self, limit: int) -> Batch:
            Hasty.polls += 1
            return await super().poll(limit)

        async def wait_for_change(self) -> None:
            return

    harness = Harness()

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield Hasty(int(checkpoint.get("", b"0")) + 1, 25, harness.before)

    async with harness.running(harness.poller(open_source=open_source)):
        await harness.until(lambda: len(harness.published()) == 25)
        polls = Hasty.polls
        for _ in range(100):
            await asyncio.sleep(0)
        assert Hasty.polls - polls < 50, "it is polled at its interval"
