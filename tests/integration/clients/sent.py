"""A client that may send, the inbound topic, and a line that is cut."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from services.experience_api.auth.clients import add_client
from shared.bus.protocol import Record
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica
from tests.servers.proxy import Proxy

INBOUND = "trelay.inbound"
SECRET = "a-sensor"


async def add_sender(replica: Replica) -> None:
    """Add the client `sensor`, which may send."""
    await add_client(replica.registry, "sensor", secret=SECRET, may_send=True)


async def stored(deployment: Deployment, count: int) -> list[object]:
    """Return the data of the first `count` events of the inbound topic, and of all behind them."""
    bounds = await deployment.bus.bounds(INBOUND)
    found: list[object] = []
    starts = {number: start for number, (start, _) in bounds.items()}
    async with asyncio.timeout(TIMEOUT), deployment.bus.reader(INBOUND, starts) as reader:
        while len(found) < count:
            found += [_data(record) for record in await reader.read(wait=TIMEOUT)]
        found += [_data(record) for record in await reader.read(wait=0)]
    return found


def _data(record: Record) -> object:
    return json.loads(record.value or b"{}")["data"]


@asynccontextmanager
async def line_to(replica: Replica) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the replica, which can cut all connections, and its URL."""
    address = urlsplit(replica.url)
    assert address.port is not None
    async with Proxy.before("127.0.0.1", address.port) as proxy:
        yield proxy, f"http://127.0.0.1:{proxy.port}"
