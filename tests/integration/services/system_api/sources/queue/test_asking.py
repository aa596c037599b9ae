"""A source can be asked where a rewind leads while it runs: nothing of what it reads is disturbed."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.system_api.operations.reconciling import reconcile
from services.system_api.operations.rewinding import checkpoint_at
from services.system_api.sources.capabilities import Place
from shared.bus.memory import MemoryBus
from shared.errors import Malformed
from shared.runtime.clock import SYSTEM_CLOCK
from tests.contracts.source.test_mqtt import MqttUpstream
from tests.contracts.source.test_rabbitmq import RabbitmqUpstream
from tests.contracts.source.test_sqs import SqsUpstream
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.integration.services.system_api.sources.queue.test_rewinding import LOGS, opened

QUEUES = ["mosquitto", "quorum", "sqs"]


@contextlib.asynccontextmanager
async def queue(kind: str, request: pytest.FixtureRequest, name: str) -> AsyncIterator[Any]:
    """Return an upstream system of the contract suite."""
    if kind in LOGS:
        async with opened(kind, request.getfixturevalue(kind), name) as log:
            yield log
    elif kind == "mosquitto":
        async with MqttUpstream.opened(request.getfixturevalue(kind), name) as mqtt:
            yield mqtt
    elif kind == "sqs":
        async with SqsUpstream.opened(request.getfixturevalue(kind), name) as sqs:
            yield sqs
    else:
        async with RabbitmqUpstream.opened(request.getfixturevalue("rabbitmq"), name, kind) as rabbitmq:
            yield rabbitmq


async def polled(read: Reading, source: Any) -> Any:
    """Return a batch with events, which is not committed yet."""
    async with asyncio.timeout(30):
        while not (batch := await source.poll(100)).records:
            await read.commit(source, batch)
            await asyncio.sleep(0.002)
    return batch


@pytest.mark.parametrize("kind", [*LOGS, *QUEUES])
async def test_a_question_does_not_disturb_the_source_that_runs(
    kind: str, request: pytest.FixtureRequest, unique_name: str
) -> None:
    async with queue(kind, request, unique_name) as upstream:
        read = Reading(upstream.options())
        await upstream.write(range(3))
        async with read.opened() as source:
            await read.through(source, 3)
            first = dict(read.saved)
            await upstream.write(range(3, 5))
            batch = await polled(read, source)
            ask = read.options.inquirer("s", SYSTEM_CLOCK, random.Random(1))
            places: list[Place] = ["beginning", "end", first]
            for place in places:
                with contextlib.suppress(Malformed):
                    await checkpoint_at(place, first, ask)
            with pytest.raises(Malformed, match="cannot count"):
                await reconcile(MemoryBus(), "t", "s", (ask, first), None, None)
            await read.commit(source, batch)
            await upstream.write(range(5, 7))
            async with asyncio.timeout(30):
                while len(read.events) < 7:
                    await read.step(source)  # raises where the connection is lost
        assert sorted(each["n"] for each in read.numbers) == list(range(7))
        assert (read.redelivered, read.losses) == (0, [])
