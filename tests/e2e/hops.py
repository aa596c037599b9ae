"""Reads the topics of a deployment for the audit, and prepares what a deployment needs before it starts."""

import json
from collections.abc import AsyncIterator, Sequence

import asyncpg

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.connect import BusOptions
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Bus, Record
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.e2e.audit import Sighting
from tests.e2e.feeding import sighting

SECRET = "a secret of the tests"


async def prepare(dsn: str, statements: Sequence[str], clients: Sequence[str]) -> None:
    """Make Trelay's tables and the upstream's, and clients whose secret is `SECRET`."""
    options = DatabaseOptions(url=dsn)
    await migrate(options)
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
    async with PostgresRegistry.opened(options) as registry:
        for client in clients:
            await add_client(registry, client, secret=SECRET)


async def sightings(bus: Bus, topic: str) -> dict[str, list[Sighting]]:
    """Return the events on a topic by source, each partition in its order."""
    found: dict[str, list[Sighting]] = {}
    async for value in values(bus, topic):
        event = json.loads(value)
        found.setdefault(source(event), []).append(sighting(event))
    return found


async def records(bus: Bus, topic: str) -> AsyncIterator[Record]:
    """Yield all records that a topic has now, each partition in its order."""
    bounds = await bus.bounds(topic)
    async with bus.reader(topic, {partition: first for partition, (first, _) in bounds.items()}) as reader:
        while any(reader.positions[partition] < end for partition, (_, end) in bounds.items()):
            for record in await reader.read(wait=0.5):
                yield record


async def values(bus: Bus, topic: str) -> AsyncIterator[bytes]:
    """Yield their values."""
    async for record in records(bus, topic):
        yield record.value or b""


def source(event: dict[str, object]) -> str:
    """Return the name of the source that an event comes from."""
    return str(event["source"]).removeprefix("/sources/")


def patient(options: BusOptions) -> BusOptions:
    """Return options for the test itself, whose first transaction may take long on a busy machine.

    The programs under test keep a short timeout: what they do after it is tested.
    """
    return options.model_copy(update={"delivery_timeout": 60.0}) if isinstance(options, KafkaOptions) else options
