"""The bus on Kafka keeps the promises of every bus."""

from contextlib import AbstractAsyncContextManager

import pytest
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from shared.bus.kafka import KafkaOptions, connect_kafka
from shared.bus.protocol import Bus
from shared.errors import Unavailable
from tests.contracts.bus.suite import BusContract
from tests.servers.kafka import Kafka


class KafkaDeployment:
    """A broker that others may use too."""

    def __init__(self, server: Kafka) -> None:
        self._server = server
        self._options = KafkaOptions(kind="kafka", servers=server.bootstrap, session_timeout=6.0)

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
