"""Topics of Kafka, on a real broker behind a proxy."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiokafka.conn import create_conn

from services.system_api.sources.queue.kafka.opening import KafkaSourceKind
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.kafka.client import connections
from shared.bus.protocol import Appender, Outgoing, TopicOptions
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.kafka import Kafka
from tests.servers.proxy import Proxy


class KafkaUpstream:
    """One topic of three partitions; the records of one key are in one of them."""

    exactly_once = True

    def __init__(self, proxy: Proxy, appender: Appender, topic: str) -> None:
        self._appender = appender
        self.topic = topic
        self.outage = proxy.outage
        self.slow = proxy.slow
        self.settings: dict[str, Any] = {"servers": f"127.0.0.1:{proxy.port}", "topics": [topic], "connect_timeout": 1}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: Kafka, topic: str) -> AsyncIterator["KafkaUpstream"]:
        host, _, port = server.bootstrap.rpartition(":")
        async with (
            Proxy.before(host, int(port)) as proxy,
            connect_kafka(KafkaOptions(servers=server.bootstrap)) as bus,
            bus.appender() as appender,
        ):
            await bus.ensure_topics([TopicOptions(name=topic, partitions=3)])
            yield cls(proxy, appender, topic)

    def options(self) -> KafkaSourceKind:
        return KafkaSourceKind.model_validate({**COMMON, "kind": "kafka", **self.settings})

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.append(record(number)["k"].encode(), line(number))

    async def write_poison(self) -> None:
        await self.append(b"a", b"{no json")

    async def append(self, key: bytes, value: bytes | None) -> None:
        await self._appender.append(self.topic, [Outgoing(key, value)])


class TestKafka(SourceContract):
    @pytest.fixture
    async def upstream(
        self, kafka: Kafka, unique_name: str, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[KafkaUpstream]:
        async with KafkaUpstream.opened(kafka, unique_name) as upstream:
            proxied, broker = int(upstream.settings["servers"].rpartition(":")[2]), kafka.bootstrap
            connect = create_conn

            async def through_proxy(host: str, port: int, **arguments: Any) -> Any:
                """The broker tells clients its own address, and not that of the proxy."""
                ours = f"{host}:{port}" == broker and arguments["request_timeout_ms"] == upstream_timeout
                return await connect(host, proxied if ours else port, **arguments)

            upstream_timeout = 1234  # tells the source's connections from those of the test
            upstream.settings["request_timeout"] = upstream_timeout / 1000
            monkeypatch.setattr(connections, "create_conn", through_proxy)
            yield upstream
