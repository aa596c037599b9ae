"""What is special about MQTT: sessions that are lost, acknowledgements, identified messages and the bound in bytes.

The contract suite of sources tests the rest (tests/contracts/source/test_mqtt.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.system_api.sources.queue.mqtt.client import MqttClient
from services.system_api.sources.queue.mqtt.opening import MqttSourceKind
from services.system_api.sources.queue.mqtt.session import MqttConnection, MqttSession
from services.system_api.sources.source import Batch
from shared.errors import SettingsError, Unauthorized, Unavailable
from tests.integration.services.system_api.sources.queue.reading import Reading, fail_once
from tests.servers.mosquitto import MosquittoServer, mosquitto_server

V5 = aiomqtt.ProtocolVersion.V5


@pytest.fixture
async def client(mosquitto: MosquittoServer) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5) as client:
        yield client


@pytest.fixture
def reading(mosquitto: MosquittoServer, unique_name: str) -> Callable[..., Reading]:
    def make(**settings: Any) -> Reading:
        given = {
            "kind": "mqtt",
            "url": mosquitto.url,
            "topics": [f"{unique_name}/#"],
            "client_id": unique_name,
            "type": "t",
        }
        return Reading(MqttSourceKind.model_validate(given | settings))

    return make


async def send(client: aiomqtt.Client, topic: str, *bodies: bytes, **user: str) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # published without types
    properties.UserProperty = list(user.items())
    for body in bodies:
        await client.publish(topic, body, qos=1, properties=properties)


async def test_a_broker_that_is_away_or_refuses_is_reported(reading: Callable[..., Reading]) -> None:
    with pytest.raises(Unavailable, match=r"MQTT broker at 127.0.0.1:1: "):
        await reading(url="mqtt://127.0.0.1:1").once()
    with pytest.raises(Unavailable, match=r"MQTT broker at 127.0.0.1:1: "):
        await reading(url="mqtt://127.0.0.1:1").options.probe("s")


async def test_a_broker_that_delivers_without_acknowledgement_is_refused() -> None:
    context = mosquitto_server("max_qos 0\n")
    server = await asyncio.to_thread(context.__enter__)
    try:
        given = {"kind": "mqtt", "url": server.url, "topics": ["a"], "type": "t"}
        with pytest.raises(SettingsError, match=r"^system.sources.s.url: .*accept: \[qos_0\]"):
            await Reading(MqttSourceKind.model_validate(given)).once()
        with pytest.raises(SettingsError, match=r"^system.sources.s.url: .*accept: \[qos_0\]"):
            await MqttSourceKind.model_validate(given).probe("s")
        await Reading(MqttSourceKind.model_validate({**given, "accept": ["qos_0"]})).once()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_wrong_credentials_are_reported() -> None:
    context = mosquitto_server("allow_anonymous false\n")
    server = await asyncio.to_thread(context.__enter__)
    try:
        given = {"kind": "mqtt", "url": server.url.replace("//", "//u:p@"), "topics": ["a"], "type": "t"}
        with pytest.raises(Unauthorized, match=r"refuses user 'u': .*set `url` and `password`"):
            await Reading(MqttSourceKind.model_validate(given)).once()
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_probe_does_not_end_the_session(
    client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    async with read.opened() as source, asyncio.timeout(60):
        assert f"session '{unique_name}'" in await reading().options.probe("s")
        await send(client, f"{unique_name}/a", b"1")
        while not read.events:
            await read.step(source)
    assert (read.numbers, read.events[0]["subject"]) == ([1], f"{unique_name}/a")


async def test_what_is_sent_while_the_source_is_away_comes_and_what_is_acknowledged_does_not(
    client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading()
    await read.once()
    await send(client, f"{unique_name}/a", b"1", b"2")
    await read.until(2)
    await send(client, f"{unique_name}/a", b"3")
    await read.until(3)
    assert read.numbers == [1, 2, 3]
    assert read.losses == []


async def test_what_was_not_acknowledged_comes_again_and_is_dropped_if_it_has_an_id(
    client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(message_id="id")
    await read.once()
    await send(client, f"{unique_name}/a", b"1", id="x")
    await send(client, f"{unique_name}/a", b"2", id="y")
    async with read.opened() as source, asyncio.timeout(60):
        while len(read.events) < 2:
            batch = await source.poll(10)
            for unsettled in source._unsettled:
                unsettled.messages.clear()  # it stops before the acknowledgement
            await read.commit(source, batch)
    read.restarted()
    await read.once()
    await send(client, f"{unique_name}/a", b"3", id="z")
    await read.until(3)
    assert read.numbers == [1, 2, 3]


async def test_what_the_broker_may_not_send_yet_is_said_to_wait(
    client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str
) -> None:
    read = reading(prefetch=10)
    await read.once()
    await send(client, f"{unique_name}/a", *(b"%d" % number for number in range(15)))
    async with read.opened() as source, asyncio.timeout(60):
        held: list[Batch] = []
        while sum(len(batch.records) for batch in held) < 10:
            batch = await source.poll(100)
            if batch.records:
                held.append(batch)
            elif batch:
                await source.settle(batch)
        assert (await source.poll(100)).waiting
        for batch in held:
            await read.commit(source, batch)
        while len(read.numbers) < 15:
            batch = await source.poll(100)
            assert batch.records, "it does not claim to have caught up while the broker sends the rest"
            await read.commit(source, batch)
        assert not (await source.poll(100)).waiting


async def test_another_client_of_the_same_id_is_named(
    mosquitto: MosquittoServer, reading: Callable[..., Reading]
) -> None:
    read = reading()
    another = aiomqtt.Client("127.0.0.1", mosquitto.port, protocol=V5, identifier=read.options.client_id)
    async with read.opened() as source:

        async def until_it_fails() -> None:
            while True:
                await read.step(source)

        await read.step(source)
        async with another:
            with pytest.raises(Unavailable, match=r"another client .*connect.* with the same client id"):
                await asyncio.wait_for(until_it_fails(), 30)


async def test_a_session_that_the_broker_has_lost_is_reported_also_where_the_connection_fails(
    reading: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = mosquitto_server("")
    server = await asyncio.to_thread(context.__enter__)
    try:
        read = reading(url=server.url)
        await read.once()
        await read.once()
        assert read.losses == []
        clean = aiomqtt.Client(
            "127.0.0.1", server.port, protocol=V5, identifier=read.options.client_id, clean_start=True
        )
        async with clean:
            pass
        await read.once()
        assert ["is not known to the broker any more" in loss.text for loss in read.losses] == [True]
        await read.once()
        assert len(read.losses) == 1
        async with read.opened() as source:
            await read.step(source)
            failed = fail_once(monkeypatch, MqttConnection, "receive")
            async with clean:  # ends the connection of the source
                pass
            async with asyncio.timeout(60):
                while len(read.losses) == 1:
                    with contextlib.suppress(Unavailable):
                        await read.step(source)
        assert (failed, len(read.losses)) == (["receive"], 2)
        async with clean:
            pass
        failed = fail_once(monkeypatch, MqttClient, "subscribe")
        with pytest.raises(Unavailable):
            await read.once()
        await read.once()
        assert (failed, len(read.losses)) == (["subscribe"], 3), "also where the source cannot be opened at first"
    finally:
        await asyncio.to_thread(context.__exit__, None, None, None)


async def test_a_shared_subscription(client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str) -> None:
    read = reading(share="g")
    async with read.opened() as source, asyncio.timeout(60):
        await send(client, f"{unique_name}/a", b"1", b"2")
        while len(read.events) < 2:
            await read.step(source)
    assert sorted(read.numbers) == [1, 2]


async def test_the_socket_is_not_read_while_there_is_no_room(
    client: aiomqtt.Client, mosquitto: MosquittoServer, unique_name: str
) -> None:
    given = {"kind": "mqtt", "url": mosquitto.url, "topics": [f"{unique_name}/#"], "type": "t"}
    options = MqttSourceKind.model_validate(given | {"prefetch_bytes": 200_000, "client_id": unique_name})
    broker = MqttSession("s", options, {})
    body = b"x" * 50_000
    async with broker.connected() as connection, asyncio.timeout(60):
        await send(client, f"{unique_name}/a", *(b"%02d" % number + body for number in range(40)))
        found: list[bytes] = []
        paused = False
        while len(found) < 40:
            await connection.wait()
            await asyncio.sleep(0.02)
            paused = paused or connection._client._paused
            assert connection._client._size <= 200_000 + len(body) + 2
            received = await connection.receive(100, 100_000)
            found += [message.body for message in received.messages]
            await connection.acknowledge(received.messages)
    assert paused
    assert [each[:2] for each in found] == [b"%02d" % number for number in range(40)], "in order, each once"


async def test_texts_that_paho_refuses_stop_nothing(
    client: aiomqtt.Client, reading: Callable[..., Reading], unique_name: str
) -> None:
    """U+FEFF is valid in MQTT (5.0, 1.5.4): the broker delivers it, again and again where the client disconnects."""
    read = reading(subject={"header": "who"})
    await read.once()
    await send(client, f"{unique_name}/a", b"1", who="\ufeffme")
    await send(client, f"{unique_name}/\ufeff", b"2", **{"\ufeff": "", "who": "m\ufeffe"})
    await send(client, f"{unique_name}/a", b"3", who="me")
    await read.until(3)
    assert [(event["data"], event["subject"]) for event in read.events] == [(1, "\ufeffme"), (2, "m\ufeffe"), (3, "me")]
