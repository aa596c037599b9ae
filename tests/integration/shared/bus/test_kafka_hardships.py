"""Situations that only Kafka has."""

import asyncio
import logging
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop
from aiokafka.errors import KafkaConnectionError

from services.standalone.embedded.kafka import KafkaServer
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.wire.metadata import metadata
from shared.bus.protocol import Bus, Outgoing, PartitionWorker, Reader, TopicOptions, Transaction
from shared.errors import Unavailable
from shared.runtime.clock import SystemClock
from tests.contracts.bus.groups import Journal, JournalWorker
from tests.contracts.bus.records import TIMEOUT
from tests.servers.kafka import Kafka

DIE_HALFWAY = """
import asyncio, sys
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.protocol import Transaction

async def main(servers, topic):
    async with connect_kafka(KafkaOptions(servers=servers)) as bus, bus.writer("dying") as writer:
        transaction = Transaction()
        transaction.append(topic, b"dying", b"never visible")
        await writer.commit(transaction)

asyncio.run(main(*sys.argv[1:]))
"""


def one(topic: str, key: bytes, value: bytes) -> Transaction:
    transaction = Transaction()
    transaction.append(topic, key, value)
    return transaction


@pytest.fixture
async def compacted(kafka: Kafka, unique_name: str) -> str:
    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap)) as bus:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=1, compact=True, retention_hours=None)])
    return unique_name


async def test_latest_reads_beyond_an_open_transaction_of_another_writer(kafka: Kafka, compacted: str) -> None:
    """Another writer dies in a transaction; what commits after its records is not visible until it is aborted."""
    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap)) as bus:
        async with bus.writer("living") as writer:
            await writer.commit(one(compacted, b"living", b"1"))
            await die_halfway(kafka, compacted)
            await writer.commit(one(compacted, b"living", b"2"))
        reading = asyncio.create_task(bus.latest(compacted, b"living"))
        done, _ = await asyncio.wait([reading], timeout=0.5)
        assert not done, "an answer now could only be the old value"
        async with bus.writer("dying"):
            assert await asyncio.wait_for(reading, 60) == {b"living": b"2"}
            assert await bus.latest(compacted, b"dying") == {}


class LeapingClock(SystemClock):
    """The system clock, some seconds ahead."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def test_a_hanging_transaction_is_a_problem_of_the_bus(kafka: Kafka, unique_name: str) -> None:
    clock = LeapingClock()
    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap), clock=clock) as bus:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=1)])
        async with bus.reader(unique_name, {0: 0}) as reader:
            await die_halfway(kafka, unique_name)
            async with asyncio.timeout(60):
                while bus.problem is None:
                    clock.ahead += 60
                    assert not await reader.read(wait=0.1)
            assert f"{unique_name}/0" in bus.problem
            async with bus.writer("dying") as writer:
                await writer.commit(one(unique_name, b"k", b"a"))
            assert [record.value for record in await asyncio.wait_for(reader.read(), 60)] == [b"a"]
            async with asyncio.timeout(60):
                while bus.problem is not None:
                    await reader.read(wait=0.1)


async def die_halfway(kafka: Kafka, topic: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", DIE_HALFWAY, kafka.bootstrap, topic),
        env={**os.environ, "TRELAY_FAILPOINT": "bus.written"},
        cwd=Path(__file__).parents[4],
    )
    assert await process.wait() == -signal.SIGKILL


async def test_a_broker_that_hangs_is_unavailable_and_works_again_when_it_resumes(
    own_kafka: KafkaServer, unique_name: str
) -> None:
    options = KafkaOptions(servers=own_kafka.bootstrap, request_timeout=2.0, delivery_timeout=5.0)
    async with connect_kafka(options) as bus:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=1)])
        async with bus.writer("hung") as writer, bus.appender() as appender:
            await writer.commit(one(unique_name, b"k", b"a"))
            own_kafka.pause()
            try:
                outcomes = await asyncio.wait_for(
                    asyncio.gather(
                        writer.commit(one(unique_name, b"k", b"b")),
                        appender.append(unique_name, [Outgoing(b"k", b"b")]),
                        bus.bounds(unique_name),
                        return_exceptions=True,
                    ),
                    60,
                )
                assert [type(outcome) for outcome in outcomes] == [Unavailable] * 3
                assert await has_problem(bus)
            finally:
                own_kafka.resume()
        await works_again(bus, unique_name)


async def has_problem(bus: Bus) -> bool:
    async with asyncio.timeout(60):
        while bus.problem is None:
            await asyncio.sleep(0.05)
    return True


async def works_again(bus: Bus, topic: str) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                async with bus.writer("hung") as writer:
                    await writer.commit(one(topic, b"k", b"c"))
                    return
            except Unavailable:
                await asyncio.sleep(0.1)


async def test_more_replicas_than_brokers_is_an_error(kafka: Kafka, unique_name: str) -> None:
    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap)) as bus:
        with pytest.raises(Unavailable, match=f"{unique_name}.*InvalidReplicationFactor.*7"):
            await bus.ensure_topics([TopicOptions(name=unique_name, replicas=7)])


async def test_a_fenced_member_rejoins_when_its_successor_is_gone(
    kafka: Kafka, unique_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two processes of one name, by mistake: the newer one works, the older one stands by."""
    options = KafkaOptions(servers=kafka.bootstrap, session_timeout=6.0)
    older, newer = Journal(), Journal()
    caplog.set_level(logging.INFO, "shared.bus.kafka.membership")
    async with connect_kafka(options) as bus, connect_kafka(options) as another:
        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=4)])
        async with bus.join(unique_name, unique_name, "m", JournalWorker(older, "older")):
            await older.until(lambda: older.of("older") == {0, 1, 2, 3})
            async with another.join(unique_name, unique_name, "m", JournalWorker(newer, "newer")):
                await newer.until(lambda: newer.of("newer") == {0, 1, 2, 3})
                await older.until(lambda: older.owners == {})
                assert await has_problem(bus)
                assert another.problem is None
            await older.until(lambda: older.of("older") == {0, 1, 2, 3})
            assert bus.problem is None
    begin, end = [line for line in caplog.records if line.name == "shared.bus.kafka.membership"]
    assert begin.getMessage() == "fenced by a newer member of the same name; standing by"
    assert end.getMessage() == "rejoined consumer group"
    assert end.__dict__["after_s"] > 0
    assert (begin.__dict__["member"], end.__dict__["member"]) == ("m", "m")


class UnendingWorker:
    """A worker that has been asked to end, and does not."""

    def __init__(self) -> None:
        self.running = 0
        self.ending = asyncio.Event()

    async def __call__(self, reader: Reader) -> None:
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ending.set()
            await asyncio.Event().wait()


@pytest.mark.parametrize("before", [[], ["a leader"]], ids=["leader", "follower"])
async def test_what_a_killed_member_was_handing_over_gets_an_owner(
    kafka: Kafka, unique_name: str, before: list[str]
) -> None:
    """Kafka gives the successor of a member what that was assigned last, without a rebalance of the group."""
    options = KafkaOptions(servers=kafka.bootstrap, session_timeout=6.0)
    journal, unending = Journal(), UnendingWorker()
    async with connect_kafka(options) as bus, connect_kafka(options) as another, AsyncExitStack() as stack:

        async def join(bus: Bus, name: str, worker: PartitionWorker) -> None:
            await stack.enter_async_context(bus.join(unique_name, unique_name, name, worker))

        await bus.ensure_topics([TopicOptions(name=unique_name, partitions=4)])
        for name in before:
            await join(bus, name, JournalWorker(journal, name))
            await journal.until(lambda: len(journal.owners) == 4)
        await join(bus, "killed", unending)
        async with asyncio.timeout(TIMEOUT):
            while len(journal.owners) + unending.running < 4 or not unending.running:
                await asyncio.sleep(0.01)
        await join(bus, "new", JournalWorker(journal, "new"))
        await asyncio.wait_for(unending.ending.wait(), TIMEOUT)
        # A newer process of the same name fences the older one, as the successor of a killed one does.
        await join(another, "killed", JournalWorker(journal, "successor"))
        await journal.until(lambda: len(journal.owners) == 4)
        assert set(journal.owners.values()) == {*before, "new", "successor"}
    assert journal.conflicts == []


def test_a_request_on_a_connection_that_has_just_closed(kafka: Kafka) -> None:
    """The request fails as on any lost connection, and the next one opens another.

    Half of a response has arrived, so that aiokafka still holds the connection for open when uvloop has closed it.
    """
    host, _, port = kafka.bootstrap.partition(",")[0].rpartition(":")
    broker = Broker(host, int(port))

    async def main() -> None:
        connections = BrokerConnections(lambda: {"client_id": "test", "security_protocol": "PLAINTEXT"})
        await connections.send(broker, metadata([]))
        connection = connections._open[broker]
        connection._reader.feed_data(b"\0")
        transport = connection._writer.transport
        transport.abort()
        while "closed=True" not in repr(transport):
            await asyncio.sleep(0)
        assert connection.connected()
        with pytest.raises(KafkaConnectionError, match="is closed: unable to perform operation"):
            await connections.send(broker, metadata([]))
        assert await connections.send(broker, metadata([]))
        await connections.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
