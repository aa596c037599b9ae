"""Streams of NATS JetStream, on a real server."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import nats as client
import pytest
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StreamConfig

from services.system_api.contract.replica import Cluster
from services.system_api.sources.queue.nats import connection, recovery
from services.system_api.sources.queue.nats.opening import NatsSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.nats import NatsServer
from tests.servers.proxy import Proxy


class NatsUpstream:
    exactly_once = True

    def __init__(self, proxy: Proxy, jetstream: JetStreamContext, name: str) -> None:
        self.jetstream = jetstream
        self.name = name
        self.outage = proxy.outage
        self.slow = proxy.slow
        self.settings: dict[str, Any] = {"url": f"nats://127.0.0.1:{proxy.port}"}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: NatsServer, name: str, retention: RetentionPolicy) -> AsyncIterator["NatsUpstream"]:
        connected = await client.connect(server.url)
        jetstream = connected.jetstream()
        try:
            await jetstream.add_stream(StreamConfig(name=name, subjects=[f"{name}.>"], retention=retention))
            async with Proxy.before("127.0.0.1", server.port) as proxy:
                yield cls(proxy, jetstream, name)
            await jetstream.delete_stream(name)
        finally:
            await connected.close()

    def options(self) -> NatsSourceKind:
        return NatsSourceKind.model_validate(
            {**COMMON, "kind": "nats", "stream": self.name, "subject": {"header": "k"}, **self.settings}
        )

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.publish(line(number), headers={"k": record(number)["k"]})

    async def write_poison(self) -> None:
        await self.publish(b"{no json")

    async def publish(self, body: bytes, **more: Any) -> None:
        await self.jetstream.publish(f"{self.name}.numbers", body, **more)


class TestNats(SourceContract):
    @pytest.fixture(params=[RetentionPolicy.LIMITS, RetentionPolicy.WORK_QUEUE])
    async def upstream(
        self, request: pytest.FixtureRequest, nats: NatsServer, unique_name: str
    ) -> AsyncIterator[NatsUpstream]:
        async with NatsUpstream.opened(nats, unique_name, request.param) as upstream:
            yield upstream

    async def test_a_server_that_is_slow_to_deliver_again_repeats_and_reorders_nothing(
        self, upstream: NatsUpstream, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recovery, "_FIRST", 0.05)  # less than it needs, and so is three times that
        monkeypatch.setattr(connection, "_COLLECTION", 0.3)
        await self.interrupt(Cluster(upstream), [25, 5, 40, 8, 30, 50])
