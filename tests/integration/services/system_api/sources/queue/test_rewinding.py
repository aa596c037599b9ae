"""Logs can be rewound to their beginning, their end and a time; what comes again has the ids of the first time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.js.api import RetentionPolicy

from shared.errors import Malformed, Unavailable
from tests.contracts.source.test_kafka import KafkaUpstream
from tests.contracts.source.test_nats import NatsUpstream
from tests.contracts.source.test_rabbitmq import RabbitmqUpstream
from tests.contracts.source.test_redis import RedisUpstream
from tests.integration.services.system_api.sources.queue.reading import Reading

LOGS = ["kafka", "nats", "rabbitmq", "redis"]


@contextlib.asynccontextmanager
async def opened(kind: str, server: Any, name: str) -> AsyncIterator[Any]:
    """Return an upstream system of the contract suite."""
    if kind == "kafka":
        async with KafkaUpstream.opened(server, name) as kafka:
            kafka.settings["servers"] = server.bootstrap
            yield kafka
    elif kind == "nats":
        async with NatsUpstream.opened(server, name, RetentionPolicy.LIMITS) as nats:
            yield nats
    elif kind == "redis":
        async with RedisUpstream.opened(server, name) as redis:
            yield redis
    else:
        async with RabbitmqUpstream.opened(server, name, "stream") as rabbitmq:
            yield rabbitmq


async def rewound(read: Reading, place: Any) -> Reading:
    """Return what reads from a place on."""
    async with read.opened() as source:
        checkpoint = await source.checkpoint_at(place)
    again = Reading(read.options)
    again.saved = dict(checkpoint)
    return again


@pytest.mark.parametrize("kind", LOGS)
async def test_a_log_is_rewound(kind: str, request: pytest.FixtureRequest, unique_name: str) -> None:
    async with opened(kind, request.getfixturevalue(kind), unique_name) as upstream:
        read = Reading(upstream.options())
        await upstream.write(range(3))
        await read.until(3)
        await asyncio.sleep(0.05)
        middle = datetime.now(UTC)
        await asyncio.sleep(0.05)
        await upstream.write(range(3, 6))
        await read.until(6)

        from_beginning = await rewound(read, "beginning")
        await from_beginning.until(6)
        assert sorted(from_beginning.ids) == sorted(read.ids)

        from_middle = await rewound(read, middle)
        await from_middle.until(3)
        await from_middle.once()
        assert set(read.ids[3:]) <= set(from_middle.ids)
        if kind != "rabbitmq":  # it knows times by chunk
            assert sorted(from_middle.ids) == sorted(read.ids[3:])

        from_end = await rewound(read, "end")
        assert await from_end.once() == []
        await upstream.write([6])
        await from_end.until(1)
        assert [each["n"] for each in from_end.numbers] == [6]

        later = await rewound(read, datetime(2100, 1, 1, tzinfo=UTC))
        assert await later.once() in ([], [{"n": 6, "k": "a"}])
        for each in (from_beginning, from_middle, from_end, later):
            assert each.losses == []


async def test_a_queue_has_a_beginning_alone(request: pytest.FixtureRequest, unique_name: str) -> None:
    server = request.getfixturevalue("rabbitmq")
    async with RabbitmqUpstream.opened(server, unique_name, "quorum") as upstream:
        read = Reading(upstream.options())
        assert (await rewound(read, "beginning")).saved == {}
        with pytest.raises(Malformed, match="a queue keeps no message that is published"):
            await rewound(read, "end")
    async with NatsUpstream.opened(request.getfixturevalue("nats"), unique_name, RetentionPolicy.WORK_QUEUE) as nats:
        with pytest.raises(Malformed, match="keeps no message that is acknowledged"):
            await rewound(Reading(nats.options()), "end")


@pytest.mark.parametrize("kind", LOGS)
async def test_a_log_that_did_not_exist_at_the_start_is_read_from_its_beginning(
    kind: str, request: pytest.FixtureRequest, unique_name: str
) -> None:
    """With `start: latest`: all that it holds has come since."""
    server = request.getfixturevalue(kind)
    async with opened(kind, server, f"{unique_name}-known") as known:
        options = known.options()
        given = options.model_dump(exclude_unset=True) | {"start": "latest"}
        given |= {"topics": [f"{unique_name}-known", unique_name]} if kind == "kafka" else {"stream": unique_name}
        read = Reading(type(options).model_validate(given))
        await known.write(range(3))
        with pytest.raises(Unavailable, match="does not exist"):
            await read.once()
        async with opened(kind, server, unique_name) as upstream:
            await upstream.write(range(3, 6))
            await read.until(3)
        assert sorted(each["n"] for each in read.numbers) == [3, 4, 5]
