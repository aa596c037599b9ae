"""Controls that follow a topic, on the bus in memory."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from services.process_api.operations.controls import Controls, RewindAsked
from services.process_api.operations.requests import Control, Rewind, control_key
from services.process_api.operations.starts import Starts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

TOPICS = TopicsOptions()
PAUSED = Control(paused=True, by="alice", reason="rebuild", at=1.0)


@contextlib.asynccontextmanager
async def following(bus: MemoryBus) -> AsyncIterator[Controls]:
    await bus.ensure_topics(TOPICS.all())
    controls = Controls(TOPICS.pipelines, SYSTEM_CLOCK)
    async with asyncio.timeout(60), Tasks() as tasks:
        tasks.keep("controls", controls.follow(bus))
        await controls.known()
        yield controls


async def test_what_is_asked_of_one_replica_reaches_the_others_and_those_that_start_later() -> None:
    bus = MemoryBus()
    async with following(bus) as one, following(bus) as another:
        await one.control(bus, "orders", PAUSED)
        assert one.paused == {"orders"}
        while another.paused != {"orders"}:
            await another.changed(1.0)
        async with following(bus) as later:
            assert later.asked.controls == {"orders": PAUSED}
        assert (await another.fresh(bus)).controls == {"orders": PAUSED}
        await another.control(bus, "orders", Control(by="bob"))
        assert another.paused == set()


async def test_what_is_asked_is_not_known_before_the_topic_was_read() -> None:
    bus = MemoryBus()
    with pytest.raises(Unavailable, match="is not known yet"):
        await Controls(TOPICS.pipelines, SYSTEM_CLOCK).followed(timeout=0)
    async with following(bus) as controls:
        await controls.control(bus, "orders", PAUSED)
        assert (await controls.followed()).controls == {"orders": PAUSED}


async def test_a_rewind_interrupts_the_partitions_that_have_not_carried_it_out() -> None:
    bus = MemoryBus()
    async with following(bus) as controls:
        asked = asyncio.create_task(controls.rewind_asked(lambda: ["orders"], 0, Starts("e")))
        other = asyncio.create_task(controls.rewind_asked(lambda: ["orders"], 1, Starts("e")))
        async with bus.writer("w") as writer:
            rewind = Rewind("r", "e", {0: 3}, "", reset_state=False, by="alice", at=1.0)
            await controls.rewind(writer, "orders", rewind)
        with pytest.raises(RewindAsked):
            await asked
        assert not other.done()
        other.cancel()


async def test_nothing_changes_within_the_timeout() -> None:
    async with following(MemoryBus()) as controls:
        await controls.changed(0.0)
        assert controls.paused == set()


async def test_an_unreadable_record_is_logged_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    bus = MemoryBus()
    await bus.ensure_topics(TOPICS.all())
    async with bus.appender() as appender:
        await appender.append(TOPICS.pipelines, [Outgoing(control_key("orders"), b"[")])
    async with following(bus) as controls:
        await controls.control(bus, "totals", PAUSED)
        assert controls.paused == {"totals"}
    assert "ignoring unreadable request" in [record.msg for record in caplog.records]
