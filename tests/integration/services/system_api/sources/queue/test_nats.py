"""What is special about JetStream: streams that are replaced, consumers of others, counts of deliveries.

The contract suite of sources tests the rest (tests/contracts/source/test_nats.py).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig

from services.system_api.sources.queue.nats import connection
from services.system_api.sources.queue.nats.connection import NatsConnection
from services.system_api.sources.queue.nats.opening import NatsSourceKind
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.sources.queue.reading import Reading, fail_once
from tests.servers.nats import NatsServer, nats_server


@pytest.fixture
def reading(nats: NatsServer, unique_name: str) -> Callable[..., Reading]:
    def make(**settings: Any) -> Reading:
        given = {"kind": "nats", "url": nats.url, "stream": unique_name, "type": "t", **settings}
        return Reading(NatsSourceKind.model_validate(given))

    return make


async def create(jetstream: JetStreamContext, name: str, **config: Any) -> None:
    await jetstream.add_stream(StreamConfig(name=name, subjects=[f"{name}.>"], **config))


async def send(jetstream: JetStreamContext, name: str, *bodies: bytes, to: str = "a") -> None:
    for body in bodies:
        await jetstream.publish(f"{name}.{to}", body)


async def test_what_is_missing_or_refused_is_said(reading: Callable[..., Reading], unique_name: str) -> None:
    with pytest.raises(Unavailable, match=f"JetStream stream '{unique_name}' does not exist; its owner must create it"):
        await reading().once()
    with pytest.raises(Unavailable, match=r"NATS at 127.0.0.1:1: "):
        await reading(url="nats://127.0.0.1:1").once()


async def test_a_server_without_jetstream_is_refused() -> None:
    context = nats_server("--user", "u", "--pass", "p", jetstream=False)
    server = await asyncio.to_thread(context.__enter__)
    try:
        given = {"kind": "nats", "stream": "S", "type": "t"}
        wrong = {**given, "url": server.url.replace("//", "//u:wrong@")}
        with pytest.raises(Unauthorized, match=r"refuses the credentials; set `url` and `password`"):
            await Reading(NatsSourceKind.model_validate(wrong)).once()
        right = {**given, "url": server.url.replace("//", "//u:p@")}
        with pytest.raises(SettingsError, match=r"system.sources.s.url: .* has no JetStream"):
            await Reading(NatsSourceKind.model_validate(right)).once()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_stream_or_a_consumer_that_loses_messages_is_refused(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name, discard=DiscardPolicy.NEW)
    with pytest.raises(SettingsError, match=r"system.sources.s.stream: .* accept: \[discard_new\]"):
        await reading().once()
    await jetstream.add_consumer(
        unique_name, ConsumerConfig(durable_name="c", ack_policy=AckPolicy.EXPLICIT, max_deliver=2)
    )
    with pytest.raises(SettingsError, match=r"system.sources.s.consumer: 'c' .* accept: \[max_deliver\]"):
        await reading(accept=["discard_new"], consumer="c").once()
    await send(jetstream, unique_name, b"1")
    assert await reading(accept=["discard_new", "max_deliver"], consumer="c").once() == [1]


async def test_a_probe_creates_no_consumer(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    assert await reading().options.probe("s") == f"stream '{unique_name}', 1 messages; no consumer yet"
    assert (await jetstream.stream_info(unique_name)).state.consumer_count == 0
    async with reading().opened():
        assert "consumer 'trelay-s', 1 messages wait" in await reading().options.probe("s")


async def test_a_stream_that_is_created_again_is_read_from_its_beginning(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1", b"2", b"3")
    await read.until(3)
    await jetstream.delete_stream(unique_name)
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"4", b"5")
    await read.until(5)
    assert read.numbers == [1, 2, 3, 4, 5]
    assert ["created again" in loss.text for loss in read.losses] == [True]
    assert len(set(read.ids)) == 5


async def test_a_stream_that_is_created_again_while_it_is_read(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    async with read.opened() as source:
        while not read.events:
            await read.step(source)
        await jetstream.delete_stream(unique_name)
        await create(jetstream, unique_name)
        await send(jetstream, unique_name, b"2")
        async with asyncio.timeout(60):
            while len(read.events) < 2:
                try:
                    await read.step(source)
                except Unavailable as exc:
                    print(exc)
                await asyncio.sleep(0.02)
    assert read.numbers == [1, 2]
    assert len(read.losses) == 1


async def test_a_stream_that_is_created_again_is_reported_though_the_connection_fails(
    jetstream: JetStreamContext,
    reading: Callable[..., Reading],
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next connection finds a stream that it continues to read."""
    read = reading()
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1")
    async with read.opened() as source:
        await read.through(source, 1)
        await jetstream.delete_stream(unique_name)
        await create(jetstream, unique_name)
        await send(jetstream, unique_name, b"2")
        failed = fail_once(monkeypatch, NatsConnection, "open")
        await read.through(source, 2)
    assert failed
    assert read.numbers == [1, 2]
    assert ["created again" in loss.text for loss in read.losses] == [True]


async def test_what_the_limits_remove_before_it_is_read_is_said(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(prefetch=1)
    await create(jetstream, unique_name, max_msgs=3)
    await send(jetstream, unique_name, b"1", b"2")
    await read.until(2)
    await send(jetstream, unique_name, b"3", b"4", b"5", b"6", b"7")
    await read.until(5)
    assert read.numbers == [1, 2, 5, 6, 7]
    assert ["sequences 3 to 4 were removed" in loss.text for loss in read.losses] == [True]
    async with read.opened() as source:
        await read.step(source)
        await send(jetstream, unique_name, b"8")
        while not (batch := await source.poll(1)).records:
            await asyncio.sleep(0.01)
        # Nothing more is delivered until that is acknowledged.
        await send(jetstream, unique_name, *(b"%d" % number for number in range(9, 15)))
        await read.commit(source, batch)
        while read.numbers[-1] != 14:
            await read.step(source)
    lost = re.search(r"sequences (\d+) to (\d+) were removed", read.losses[1].text)
    assert lost is not None
    assert sorted([*read.numbers[6:], *range(int(lost[1]), int(lost[2]) + 1)]) == list(range(9, 15))


async def test_messages_that_another_process_got_from_the_consumer_are_not_lost(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They come after newer ones, once the other process has not acknowledged them in time."""
    monkeypatch.setattr(connection, "_COLLECTION", 0.1)
    await create(jetstream, unique_name)
    await jetstream.add_consumer(
        unique_name, ConsumerConfig(durable_name="shared", ack_policy=AckPolicy.EXPLICIT, ack_wait=2)
    )
    await send(jetstream, unique_name, b"1", b"2", b"3", b"4", b"5")
    other = await jetstream.pull_subscribe_bind("shared", stream=unique_name)
    taken = await other.fetch(3)
    read = reading(consumer="shared")
    await read.until(2)
    assert sorted(read.numbers) == [4, 5]
    assert b'"above":[4,5]' in read.saved[""]
    await taken[0].ack()
    await read.until(4)
    assert read.numbers == [4, 5, 2, 3]
    async with read.opened() as source, asyncio.timeout(60):
        while b'"mark":5,"above":[]' not in read.saved[""]:
            await read.step(source)


async def test_a_message_that_kills_its_process_is_parked_and_no_other(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(jetstream, unique_name)
    await send(jetstream, unique_name, b"1", b"2", b"3", b"4", b"5")
    read = reading(max_deliveries=4)
    await read.until_parked(b"4", 4, monkeypatch)
    assert read.redelivered >= 1
    assert read.numbers == [1, 2, 3, 5]


async def test_a_message_above_the_bytes_of_a_request_does_not_block(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name)
    read = reading(prefetch_bytes=65_536, message_limit=100_000)
    await send(jetstream, unique_name, b"1", b'"%s"' % (b"x" * 90_000), b'"%s"' % (b"x" * 200_000), b"4")
    await read.until(3)
    assert [str(number)[:3] for number in read.numbers] == ["1", "xxx", "4"]
    assert [len(reject.value) for reject in read.rejects] == [65_536]


async def test_a_source_that_is_rewound_reads_again_with_the_same_ids(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name)
    read = reading()
    await send(jetstream, unique_name, b"1", b"2", b"3")
    await read.until(2)
    middle = dict(read.saved)
    await send(jetstream, unique_name, b"4")
    await read.until(4)
    for saved in ({}, middle):
        again = reading()
        again.saved = dict(saved)
        await again.until(len(read.ids) if not saved else 4 - len(read.ids[: read.ids.index("s:4")]))
        assert again.ids == read.ids[-len(again.ids) :]


async def test_a_filter_and_a_work_queue(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name, retention=RetentionPolicy.WORK_QUEUE)
    read = reading(filter=f"{unique_name}.eu", subject={"key": True})
    await send(jetstream, unique_name, b"1", to="us")
    await send(jetstream, unique_name, b"2", to="eu")
    await read.until(1)
    async with asyncio.timeout(60):
        while (await jetstream.stream_info(unique_name)).state.messages > 1:
            await asyncio.sleep(0.02)
    assert read.events[0]["subject"] == f"{unique_name}.eu"
    assert read.events[0]["time"] > "2026"


async def test_a_deleted_consumer_of_a_stream_that_keeps_nothing_without_one(
    jetstream: JetStreamContext, reading: Callable[..., Reading], unique_name: str
) -> None:
    await create(jetstream, unique_name, retention=RetentionPolicy.INTEREST)
    read = reading()
    async with read.opened():
        await send(jetstream, unique_name, b"1")
    await read.until(1)
    await jetstream.delete_consumer(unique_name, "trelay-s")
    await send(jetstream, unique_name, b"2")
    async with read.opened() as source:
        await read.step(source)
        await send(jetstream, unique_name, b"3")
        while len(read.events) < 2:
            await read.step(source)
    assert read.numbers == [1, 3]
    assert ["was deleted" in loss.text for loss in read.losses] == [True]
