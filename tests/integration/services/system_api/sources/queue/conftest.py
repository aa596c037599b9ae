"""Clients of the servers beside the sources."""

from collections.abc import AsyncIterator

import nats as client
import pytest
from nats.js import JetStreamContext

from tests.servers.nats import NatsServer


@pytest.fixture
async def jetstream(nats: NatsServer) -> AsyncIterator[JetStreamContext]:
    connection = await client.connect(nats.url)
    yield connection.jetstream()
    await connection.close()
