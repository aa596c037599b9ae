"""Runs a replica in its own process, with the bus in memory. Prints its address, and runs until killed."""

import asyncio
import sys

from services.experience_api.app import build_experience_api
from services.experience_api.registry.postgres import PostgresRegistry
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.replicas import LONG_LEASES, settings


async def main(dsn: str) -> None:
    options = settings(DatabaseOptions(url=dsn), LONG_LEASES)
    async with (
        PostgresRegistry.opened(options.database) as registry,
        build_experience_api(options, bus=MemoryBus(), registry=registry, alerts=RecordingAlerts()) as service,
    ):
        print(service.listening.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
