"""What the suite needs of Kafka: one broker, or a cluster of three."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.structs import TopicPartition

from services.standalone.embedded.kafka import KafkaServer
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import KafkaBus, connect_kafka
from shared.bus.protocol import Bus, TopicOptions
from shared.errors import Unavailable
from tests.servers.cluster import Cluster
from tests.servers.kafka import Kafka

_POLL = 0.02


class KafkaDeployment:
    """A broker, or several, that others may use too."""

    def __init__(self, server: Kafka, options: KafkaOptions | None = None) -> None:
        self._server = server
        self._options = options or KafkaOptions(kind="kafka", servers=server.bootstrap, session_timeout=6.0)

    @property
    def options(self) -> str:
        """See `ServedDeployment.options`."""
        return json.dumps({"bus": self._options.model_dump(mode="json"), "database": {}})

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


class OwnKafkaDeployment(KafkaDeployment):
    """A broker that one test has to itself."""

    def __init__(self, server: KafkaServer) -> None:
        self._own = server
        options = KafkaOptions(kind="kafka", servers=server.bootstrap, session_timeout=6.0, delivery_timeout=3.0)
        super().__init__(server, options)

    async def stop_server(self) -> None:
        await asyncio.to_thread(self._own.kill)

    async def start_server(self) -> None:
        await asyncio.to_thread(self._own.start)


class ClusterDeployment(KafkaDeployment):
    """Three brokers; each partition is on all of them. The server that stops is all of them at once."""

    def __init__(self, cluster: Cluster, *, timeout: float = 15.0) -> None:
        self._cluster = cluster
        options = KafkaOptions(kind="kafka", servers=cluster.bootstrap, session_timeout=6.0, delivery_timeout=timeout)
        super().__init__(cluster, options)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bus]:
        async with connect_kafka(self._options) as bus:
            yield _ReplicatedBus(bus, self._cluster)

    async def delete(self, topic: str) -> None:
        await super().delete(topic)
        while await self._cluster.nodes_that_know(topic):
            await asyncio.sleep(_POLL)

    async def stop_server(self) -> None:
        await asyncio.to_thread(self._cluster.kill)

    async def start_server(self) -> None:
        await asyncio.to_thread(self._cluster.start)


class _ReplicatedBus(KafkaBus):
    """A bus whose topics have three replicas, and are known to every broker as soon as they are made."""

    def __init__(self, bus: KafkaBus, servers: Cluster) -> None:
        super().__init__(bus._cluster)
        self._servers = servers

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        wanted = list(topics)
        await super().ensure_topics([options.model_copy(update={"replicas": 3}) for options in wanted])
        for options in wanted:
            # Else another connection of the test may ask a broker that does not know the topic yet.
            while len(await self._servers.nodes_that_know(options.name)) < len(self._servers.nodes):
                await asyncio.sleep(_POLL)
