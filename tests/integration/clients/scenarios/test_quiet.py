"""What every client library does while there is nothing for it."""

import asyncio
from pathlib import Path

import pytest

from services.experience_api.auth.clients import add_client
from tests.integration.clients.scenarios.programs import Start, served
from tests.integration.clients.sent import SECRET
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds the JavaScript client

BEATS = {"delivery": {"drain": {"spread": 0}, "hub": {"heartbeat": {"seconds": 2}}}}


async def test_it_does_not_fall_behind_the_events_of_others(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    """A cursor that stays at the last event is one that the bus keeps no longer at some time."""
    store = tmp_path / "cursor"
    async with served(deployment, BEATS) as (replica, line):
        async with start(url=line.url, store=str(store), channels=["quiet"]) as program:
            await program.until_control("trelay.connected")
            await replica.push("quiet", 1)
            assert await program.numbers(1) == [1]
            await replica.push("orders", 2)
            await add_client(replica.registry, "other", secret=SECRET)
            async with replica.connect(await replica.register("other", SECRET)) as other:
                head = (await other.next())["cursor"]
            async with asyncio.timeout(TIMEOUT):
                while (await asyncio.to_thread(store.read_text)).strip() != head:
                    await asyncio.sleep(0.05)
            await replica.push("quiet", 3)
            assert await program.numbers(1) == [3]
            assert "trelay.heartbeat" not in program.said("control")
        await deployment.until_no_connection()
        await replica.push("quiet", 4)
        async with start(url=line.url, store=str(store)) as program:
            found = await program.numbers(1)
            while found[-1] < 4:  # it was printed, and the program was killed before its cursor was stored
                found += await program.numbers(1)
            assert found in ([3, 4], [4]), "and not what was for others before"
