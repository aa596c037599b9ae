import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.experience_api.registry.notices import ClaimLost, LossReason, Notice
from services.experience_api.sessions.claiming.takeovers import Takeovers
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing, TopicOptions
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

TIMEOUT = 60.0
TOPIC = "trelay.takeovers"


@asynccontextmanager
async def replica(bus: MemoryBus) -> AsyncIterator[tuple[Takeovers, asyncio.Queue[Notice]]]:
    notices: asyncio.Queue[Notice] = asyncio.Queue()
    async with bus.appender() as appender, Tasks() as tasks:
        takeovers = Takeovers(bus, appender, TOPIC, notices.put_nowait, SYSTEM_CLOCK)
        tasks.keep("takeovers", takeovers.run())
        await asyncio.sleep(0.01)  # it reads from its start on
        yield takeovers, notices


async def a_bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name=TOPIC, partitions=1)])
    return bus


async def test_an_announcement_reaches_every_replica() -> None:
    bus, connection_id = await a_bus(), uuid.uuid4()
    async with replica(bus) as (one, to_one), replica(bus) as (_, to_two):
        await one.announce(connection_id)
        for queue in (to_one, to_two):
            assert await asyncio.wait_for(queue.get(), TIMEOUT) == ClaimLost(connection_id, LossReason.TAKEN_OVER)


async def test_an_announcement_of_an_unknown_form_is_ignored() -> None:
    bus, connection_id = await a_bus(), uuid.uuid4()
    async with replica(bus) as (takeovers, notices), bus.appender() as appender:
        for value in (b"\xff", b'{"type": "later"}', None):
            await appender.append(TOPIC, [Outgoing(b"x", value)])
        await takeovers.announce(connection_id)
        found = await asyncio.wait_for(notices.get(), TIMEOUT)
        assert isinstance(found, ClaimLost)
        assert found.connection_id == connection_id
