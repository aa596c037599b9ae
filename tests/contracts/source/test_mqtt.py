"""Topics of MQTT, on a real broker."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiomqtt
import pytest

from services.system_api.sources.queue.mqtt.opening import MqttSourceKind
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line, record
from tests.servers.mosquitto import MosquittoServer
from tests.servers.proxy import Proxy


class MqttUpstream:
    exactly_once = False

    def __init__(self, proxy: Proxy, client: aiomqtt.Client, name: str) -> None:
        self.client = client
        self.name = name
        self.outage = proxy.outage
        self.slow = proxy.slow
        self.settings: dict[str, Any] = {"url": f"mqtt://127.0.0.1:{proxy.port}"}

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, server: MosquittoServer, name: str) -> AsyncIterator["MqttUpstream"]:
        version = aiomqtt.ProtocolVersion.V5
        async with (
            Proxy.before("127.0.0.1", server.port) as proxy,
            aiomqtt.Client("127.0.0.1", server.port, protocol=version) as client,
        ):
            upstream = cls(proxy, client, name)
            # The broker keeps messages for sessions that it knows.
            await upstream.subscribe(server)
            yield upstream

    async def subscribe(self, server: MosquittoServer) -> None:
        options = MqttSourceKind.model_validate({**self.options().model_dump(), "url": server.url})
        async with options.broker_class()("numbers", options, {}).connected():
            pass

    def options(self) -> MqttSourceKind:
        return MqttSourceKind.model_validate(
            {
                **COMMON,
                "kind": "mqtt",
                "topics": [f"{self.name}/#"],
                "client_id": self.name,
                "subject": "k",
                **self.settings,
            }
        )

    async def write(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            await self.client.publish(f"{self.name}/{record(number)['k']}", line(number), qos=1)

    async def write_poison(self) -> None:
        await self.client.publish(f"{self.name}/a", b"{no json", qos=1)


class TestMqtt(SourceContract):
    @pytest.fixture
    async def upstream(self, mosquitto: MosquittoServer, unique_name: str) -> AsyncIterator[MqttUpstream]:
        async with MqttUpstream.opened(mosquitto, unique_name) as upstream:
            yield upstream
