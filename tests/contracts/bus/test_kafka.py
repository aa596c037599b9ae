"""The bus on Kafka keeps the promises of every bus."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from services.standalone.embedded.kafka import KafkaServer
from shared.bus.kafka import KafkaOptions, connect_kafka
from shared.bus.protocol import Bus
from shared.errors import Unavailable
from tests.contracts.bus.suite import BusContract, ServedBusContract
from tests.servers.kafka import Kafka, kafka_server
from tests.servers.missing import skipping_without


class KafkaDeployment:
    """A broker that others may use too."""

    def __init__(self, server: Kafka, options: KafkaOptions | None = None) -> None:
        self._server = server
        self._options = options or KafkaOptions(kind="kafka", servers=server.bootstrap, session_timeout=6.0)

    def connect(self) -> AbstractAsyncContextManager[Bus]:
        return connect_kafka(self._options)

    async def forget(self, topic: str, partition: int, below: int) -> None:
        admin = await self._admin()
        try:
            position = TopicPartition(topic, partition)
            await admin.delete_records({position: RecordsToDelete(before_offset=below)})
        finally:
            await admin.close()

    async def delete(self, topic: str) -> None:
        admin = await self._admin()
        try:
            await admin.delete_topics([topic])
        finally:
            await admin.close()
        async with self.connect() as bus:
            while await self._is_there(bus, topic):
                pass

    async def _admin(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._server.bootstrap)
        await admin.start()
        return admin

    async def _is_there(self, bus: Bus, topic: str) -> bool:
        try:
            await bus.epoch(topic)
        except Unavailable:
            return False
        return True


class TestKafkaBus(BusContract):
    @pytest.fixture
    async def deployment(self, kafka: Kafka) -> KafkaDeployment:
        return KafkaDeployment(kafka)


class OwnKafkaDeployment(KafkaDeployment):
    """A broker that one test has to itself."""

    def __init__(self, server: KafkaServer) -> None:
        self._own = server
        options = KafkaOptions(kind="kafka", servers=server.bootstrap, session_timeout=6.0, delivery_timeout=3.0)
        super().__init__(server, options)

    @property
    def options(self) -> str:
        return json.dumps({"bus": self._options.model_dump(mode="json"), "database": {}})

    async def stop_server(self) -> None:
        await asyncio.to_thread(self._own.kill)

    async def start_server(self) -> None:
        await asyncio.to_thread(self._own.start)


@pytest.fixture(scope="class")
def stopped_and_started(request: pytest.FixtureRequest) -> Iterator[KafkaServer]:
    """A broker for one class, whose tests leave it running or not."""
    with skipping_without("Kafka", request.config), kafka_server() as server:
        yield server


class TestOwnKafkaBus(ServedBusContract):
    @pytest.fixture
    async def deployment(self, stopped_and_started: KafkaServer) -> OwnKafkaDeployment:
        if not stopped_and_started.running:
            await asyncio.to_thread(stopped_and_started.start)
        return OwnKafkaDeployment(stopped_and_started)
