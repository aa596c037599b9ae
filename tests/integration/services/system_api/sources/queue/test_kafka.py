"""What is special about Kafka: partitions and topics that appear, are replaced or overtaken, and transactions.

The contract suite of sources tests the rest (tests/contracts/source/test_kafka.py).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.structs import TopicPartition

from services.system_api.sources.queue.kafka import connection, lag, topic_reader
from services.system_api.sources.queue.kafka.connection import KafkaConnection
from services.system_api.sources.queue.kafka.opening import KafkaSourceKind
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import KafkaBus, connect_kafka
from shared.bus.protocol import Outgoing, TopicOptions, Transaction
from shared.errors import SettingsError, Unavailable
from tests.integration.services.system_api.sources.queue.reading import Reading, fail_once
from tests.servers.header_names import RawBytes
from tests.servers.kafka import Kafka


@pytest.fixture
async def bus(kafka: Kafka) -> AsyncIterator[KafkaBus]:
    async with connect_kafka(KafkaOptions(servers=kafka.bootstrap)) as bus:
        yield bus


@pytest.fixture
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    yield admin
    await admin.close()


@pytest.fixture
def reading(kafka: Kafka, unique_name: str) -> Callable[..., Reading]:
    def make(**settings: Any) -> Reading:
        target = {} if "pattern" in settings else {"topics": [unique_name]}
        given = {"kind": "kafka", "servers": kafka.bootstrap, "type": "t", **target, **settings}
        return Reading(KafkaSourceKind.model_validate(given))

    return make


async def create(bus: KafkaBus, name: str, partitions: int = 1) -> None:
    await bus.ensure_topics([TopicOptions(name=name, partitions=partitions)])


async def send(bus: KafkaBus, topic: str, *values: bytes | None) -> None:
    async with bus.appender() as appender:
        for value in values:
            await appender.append(topic, [Outgoing(b"k", value)])


async def recreate(bus: KafkaBus, admin: AIOKafkaAdminClient, name: str) -> None:
    before = await bus.epoch(name)
    await admin.delete_topics([name])
    while True:
        try:
            await create(bus, name)
            if await bus.epoch(name) != before:
                return
        except Unavailable:
            await asyncio.sleep(0.02)


async def test_what_is_missing_is_said(reading: Callable[..., Reading], unique_name: str) -> None:
    with pytest.raises(Unavailable, match=f"topic '{unique_name}' does not exist"):
        await reading().once()
    with pytest.raises(Unavailable, match=f"topic '{unique_name}' does not exist"):
        await reading().options.probe("s")
    with pytest.raises(Unavailable, match=r"Kafka at 127.0.0.1:1: "):
        await reading(servers="127.0.0.1:1", connect_timeout=0.2).once()
    with pytest.raises(SettingsError, match=r"^system.sources.s.ca_file /nowhere cannot be used"):
        await reading(security_protocol="SSL", ca_file="/nowhere").once()


async def test_a_topic_that_loses_records_is_refused(
    bus: KafkaBus, admin: AIOKafkaAdminClient, reading: Callable[..., Reading], unique_name: str
) -> None:
    configs = {"cleanup.policy": "compact"}
    await admin.create_topics([NewTopic(unique_name, 1, 1, topic_configs=configs)])
    for probe in (reading().once(), reading().options.probe("s")):
        with pytest.raises(SettingsError, match=r"^system.sources.s.topics: .* accept: \[compacted\]"):
            await probe
    await send(bus, unique_name, b"1")
    assert await reading(accept=["compacted"]).once() == [1]
    assert await reading(accept=["compacted"]).options.probe("s") == "1 topics, 1 partitions, 1 offsets"


async def test_committed_records_alone_are_read_and_markers_are_no_loss(
    bus: KafkaBus,
    admin: AIOKafkaAdminClient,
    reading: Callable[..., Reading],
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topic_reader, "_SAVE_MARKERS", 0.0)
    await create(bus, unique_name)
    async with bus.writer(unique_name) as writer:
        transaction = Transaction()
        transaction.append(unique_name, b"k", b"1")
        await writer.commit(transaction)
    read = reading()
    await read.until(1)
    await read.once()
    # Retention removes what was read, and the marker that was not, as it is no record.
    await admin.delete_records({TopicPartition(unique_name, 0): RecordsToDelete(before_offset=-1)})
    async with read.opened() as source:
        await read.step(source)
        await send(bus, unique_name, b"2", None)
        while len(read.events) < 3:
            await read.step(source)
    assert read.numbers == [1, 2, None]
    assert read.losses == []


async def test_retention_that_overtakes_the_source_is_reported(
    bus: KafkaBus, admin: AIOKafkaAdminClient, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(bus, unique_name)
    read = reading()
    await send(bus, unique_name, b"1")
    await read.until(1)
    await send(bus, unique_name, b"2", b"3", b"4")
    await admin.delete_records({TopicPartition(unique_name, 0): RecordsToDelete(before_offset=3)})
    await read.until(2)
    assert read.numbers == [1, 4]
    (loss,) = read.losses
    assert f"'{unique_name}', partition 0: offsets 1 to 2 (2 records at most) were removed" in loss.text


async def test_a_topic_that_is_created_again_is_read_from_its_beginning(
    bus: KafkaBus, admin: AIOKafkaAdminClient, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(bus, unique_name)
    read = reading()
    await send(bus, unique_name, b"1", b"2")
    await read.until(2)
    await recreate(bus, admin, unique_name)
    await send(bus, unique_name, b"3", b"4", b"5")
    await read.until(5)
    async with read.opened() as source:
        await recreate(bus, admin, unique_name)
        await send(bus, unique_name, *(b"%d" % number for number in range(6, 16)))
        async with asyncio.timeout(60):
            while len(read.events) < 15:
                try:
                    await read.step(source)
                except Unavailable as exc:
                    print(exc)
                await asyncio.sleep(0.02)
    assert read.numbers == list(range(1, 16))
    assert ["created again" in loss.text for loss in read.losses] == [True, True]
    assert len(set(read.ids)) == 15


async def test_a_topic_that_is_created_again_is_reported_though_the_connection_fails(
    bus: KafkaBus,
    admin: AIOKafkaAdminClient,
    reading: Callable[..., Reading],
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next connection finds a topic that it continues to read."""
    await create(bus, unique_name)
    read = reading()
    await send(bus, unique_name, b"1")
    async with read.opened() as source:
        await read.through(source, 1)
        await recreate(bus, admin, unique_name)
        await send(bus, unique_name, b"2")
        failed = fail_once(monkeypatch, KafkaConnection, "_reopen")
        await read.through(source, 2)
    assert failed
    assert read.numbers == [1, 2]
    assert ["created again" in loss.text for loss in read.losses] == [True]


async def test_partitions_that_are_added_are_read_from_their_beginning(
    bus: KafkaBus, admin: AIOKafkaAdminClient, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(bus, unique_name)
    await send(bus, unique_name, b"0")
    read = reading(start="latest")
    async with read.opened() as source:
        for _ in range(3):
            await read.step(source)
        await admin.create_partitions({unique_name: NewPartitions(total_count=4)})
        async with asyncio.timeout(60), AIOKafkaProducer(bootstrap_servers=bus._cluster.options.servers) as producer:
            for number in range(1, 9):
                await producer.send_and_wait(unique_name, b"%d" % number, partition=number % 4)
            while len(read.events) < 8:
                await read.step(source)
    assert sorted(read.numbers) == list(range(1, 9))
    assert {name.split("/")[1] for name in read.ids} == set("0123")
    assert read.losses == []


async def test_topics_that_match_a_pattern_are_found_later_and_their_offsets_noted_in_a_group(
    bus: KafkaBus, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_DISCOVERY", 0.1)
    monkeypatch.setattr(lag, "_RETRY_AFTER", 0.0)
    group = f"{unique_name}-lag"
    read = reading(pattern=rf"{unique_name}\.[ab]", group=group, start="latest")
    await create(bus, f"{unique_name}.a")
    await create(bus, f"{unique_name}.c")
    await send(bus, f"{unique_name}.a", b"0")
    async with read.opened() as source, asyncio.timeout(60):
        for _ in range(3):
            await read.step(source)
        await create(bus, f"{unique_name}.b")
        await send(bus, f"{unique_name}.b", b"1", b"2")
        await send(bus, f"{unique_name}.a", b"3")
        while len(read.events) < 3 or await committed(bus, group, unique_name) != [2, 2]:
            await read.step(source)
    assert sorted(read.numbers) == [1, 2, 3]


async def committed(bus: KafkaBus, group: str, prefix: str) -> list[int | None]:
    """Return what another program sees of the group."""
    async with AIOKafkaConsumer(bootstrap_servers=bus._cluster.options.servers, group_id=group) as consumer:
        return [await consumer.committed(TopicPartition(f"{prefix}.{name}", 0)) for name in "ab"]


async def test_messages_are_taken_within_the_bound_in_bytes(
    bus: KafkaBus, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(bus, unique_name)
    large = b'"%s"' % (b"x" * 50_000)
    await send(bus, unique_name, *[large] * 40)
    read = reading(prefetch_bytes=100_000)
    async with read.opened() as source:
        while len(read.events) < 40:
            before = len(read.events)
            await read.step(source)
            assert sum(len(each["data"]) for each in read.events[before:]) <= 100_000 + 1_100_000
            assert isinstance(source._connection, KafkaConnection)
            for topic in source._connection._topics.values():
                assert sum(len(each._content) for each in topic._reader._fetcher.fetched.values()) <= 200_000


async def test_a_header_whose_name_is_not_text_stops_nothing(
    bus: KafkaBus, reading: Callable[..., Reading], unique_name: str
) -> None:
    """The broker does not check it; a client in another language can send it."""
    await create(bus, unique_name)
    await send(bus, unique_name, b"1")
    async with bus.appender() as appender:
        await appender.append(unique_name, [Outgoing(b"k", b"2", [(RawBytes(b"caf\xe9"), b"\xff"), ("who", b"me")])])
    await send(bus, unique_name, b"3")
    read = reading(subject={"header": "who"})
    await read.until(1)
    assert read.numbers == [2]
    assert [reject.value for reject in read.rejects] in ([b"1"], [b"1", b"3"])
    assert await reading().once() == [1, 2, 3]
