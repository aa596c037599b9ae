"""A Kafka cluster for tests: three brokers and controllers that can be killed, paused and started one by one."""

import asyncio
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from services.standalone.embedded.cluster import KafkaCluster
from services.standalone.embedded.kafka import KafkaOptions, KafkaServer
from tests.servers.kafka import SETTINGS as SETTINGS_OF_EACH
from tests.servers.kafka import find_jars
from tests.servers.processes import START_TIMEOUT, starting_again

_SIZE = 3
_HEAP = "256m"
_WHOLE_TIMEOUT = 240.0
_POLL = 0.1
_ANSWER_TIMEOUT = 2.0
_NO_ANSWER = (KafkaError, OSError, TimeoutError)

SETTINGS = SETTINGS_OF_EACH | {
    # Each a third of the default (9 s, 2 s, 30 s): the proportions are those of a production cluster, and a test waits
    # a third of the time until a broker that is gone loses its leaderships (3 s) or leaves the replicas in sync (10 s).
    # The controllers elect a new one as fast as by default: 2 s without the active one, then 1 s at most.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "replica.lag.time.max.ms": "10000",
    # A broker that is back becomes the leader of its share soon, and not after five minutes: leaders also move while
    # nothing is away, and each broker has leaderships to lose when its turn comes again.
    "leader.imbalance.check.interval.seconds": "5",
    # The default takes 128 MB, half of the heap.
    "log.cleaner.dedupe.buffer.size": "8388608",
}


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition in the metadata of one broker."""

    topic: str
    number: int
    leader: int
    replicas: frozenset[int]
    in_sync: frozenset[int]


class Cluster:
    """Three nodes. Those of `nodes` have `.kill()`, `.start()`, `.stop()`, `.restart()`, `.pause()` and `.resume()`."""

    def __init__(self, nodes: Sequence[KafkaServer]) -> None:
        self.nodes = tuple(nodes)

    @property
    def bootstrap(self) -> str:
        """`host:port` of each node, with commas between."""
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self) -> None:
        """Start the nodes that do not run, side by side; return when the cluster is whole.

        Raises:
            ServerFailed: a node did not start.
            TimeoutError: the cluster is not whole in time.
        """
        with ThreadPoolExecutor(len(self.nodes)) as starting:
            list(starting.map(KafkaServer.start, [node for node in self.nodes if not node.running]))
            # In a thread, for the caller's may have an event loop.
            starting.submit(asyncio.run, self._settle()).result()

    def kill(self) -> None:
        """SIGKILL all nodes at once."""
        with ThreadPoolExecutor(len(self.nodes)) as killing:
            list(killing.map(KafkaServer.kill, self.nodes))

    def resume(self) -> None:
        """Continue every paused node."""
        for node in self.nodes:
            if node.running:
                node.resume()

    async def wait_until_whole(self, timeout: float = _WHOLE_TIMEOUT) -> None:
        """Wait until every node answers and knows of no replica that is out of sync.

        Raises:
            TimeoutError: not in time; the text says what is missing.
        """
        missing: str | None = "nothing was asked yet"
        try:
            async with asyncio.timeout(timeout):
                while (missing := await self._missing()) is not None:
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise TimeoutError(f"the cluster is not whole after {timeout:g} s: {missing}") from None

    async def leader(self, topic: str, partition: int) -> KafkaServer:
        """Return the node that leads a partition, as the first node that knows it says.

        Raises:
            TimeoutError: none knows it in time.
        """
        async with asyncio.timeout(_WHOLE_TIMEOUT):
            while True:
                for node in self.nodes:
                    with suppress(*_NO_ANSWER):
                        found = {(each.topic, each.number): each.leader for each in await _partitions(node)}
                        if (leader := found.get((topic, partition), 0)) > 0:
                            return self._node(leader)
                await asyncio.sleep(_POLL)  # a node learns of a new topic, or leader, a moment later than others

    async def coordinator(self, kind: Literal["group", "transaction"], name: str) -> KafkaServer:
        """Return the node that coordinates a group or a transactional id."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            return self._node(await admin.find_coordinator(name, 1 if kind == "transaction" else 0))
        finally:
            await admin.close()

    async def _settle(self) -> None:
        async with asyncio.timeout(_WHOLE_TIMEOUT):
            await _use_coordinators(self.bootstrap)
        await self.wait_until_whole()

    async def nodes_that_know(self, topic: str) -> list[KafkaServer]:
        """Return the nodes that respond and know a topic."""
        found = []
        for node in self.nodes:
            with suppress(*_NO_ANSWER):
                if any(each.topic == topic for each in await _partitions(node)):
                    found.append(node)
        return found

    def _node(self, number: int) -> KafkaServer:
        return self.nodes[number - 1]

    async def _missing(self) -> str | None:
        # Each node is asked: one that was paused answers from what it knew before.
        for node in self.nodes:
            try:
                partitions = await _partitions(node)
            except _NO_ANSWER as exc:
                return f"{node.bootstrap} does not answer: {exc!r}"
            for each in partitions:
                if each.leader < 1 or each.in_sync != each.replicas:
                    return f"{node.bootstrap} knows {each}"
        return None


async def _partitions(node: KafkaServer) -> list[Partition]:
    """Ask one node for all partitions of all topics."""
    host, _, port = node.bootstrap.rpartition(":")
    connection = await create_conn(host, int(port), request_timeout_ms=int(_ANSWER_TIMEOUT * 1000))
    try:
        answer: dict[str, Any] = (await connection.send(MetadataRequest(None))).to_object()
    finally:
        connection.close()
    return [
        Partition(
            topic["topic"], each["partition"], each["leader"], frozenset(each["replicas"]), frozenset(each["isr"])
        )
        for topic in answer["topics"]
        for each in topic["partitions"]
    ]


async def _use_coordinators(bootstrap: str) -> None:
    """Make Kafka's own topics, and wait until they work: they are made when a coordinator is first asked for."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        while True:
            try:
                await admin.list_consumer_group_offsets("warm-up")
                break
            except KafkaError:
                await asyncio.sleep(_POLL)
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="warm-up"):
        pass


@starting_again
@contextmanager
def kafka_cluster_servers() -> Iterator[Cluster]:
    """Run a cluster of three nodes in a temporary folder.

    Raises:
        ServerMissing: no Java, or no jars and no way to resolve them.
    """
    jars = find_jars()
    members = KafkaCluster.on_free_ports(_SIZE)
    with tempfile.TemporaryDirectory(prefix="trelay-kafka-") as folder:
        nodes = [
            KafkaServer(
                KafkaOptions(
                    Path(folder) / f"node-{member.id}",
                    jars,
                    heap=_HEAP,
                    start_timeout=START_TIMEOUT,
                    settings=SETTINGS,
                    node_id=member.id,
                    cluster=members,
                )
            )
            for member in members.nodes
        ]
        cluster = Cluster(nodes)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.kill()
