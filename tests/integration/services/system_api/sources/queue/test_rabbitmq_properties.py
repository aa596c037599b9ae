"""Properties of RabbitMQ messages that a sender has written in its own way."""

import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from aio_pika.abc import AbstractChannel
from pamqp import encode

from services.system_api.sources.queue.rabbitmq.opening import RabbitmqSourceKind
from tests.integration.services.system_api.sources.queue.rabbitmq_queues import channel, declare, send
from tests.integration.services.system_api.sources.queue.reading import Reading
from tests.servers.rabbitmq import RabbitmqServer

__all__ = ["channel"]


def write_raw(monkeypatch: pytest.MonkeyPatch, moment: int | None) -> None:
    """Let aio-pika write `moment` as the time of a message, and a byte that is not UTF-8 for each `Q` of a text."""
    text = encode.METHODS["shortstr"]
    monkeypatch.setitem(encode.METHODS, "shortstr", lambda value: text(value).replace(b"Q", b"\xff"))
    monkeypatch.setattr(encode, "short_string", lambda value: text(value).replace(b"Q", b"\xff"))
    if moment is not None:
        monkeypatch.setitem(encode.METHODS, "timestamp", lambda _: struct.pack(">Q", moment))
        monkeypatch.setattr(encode, "timestamp", lambda _: struct.pack(">Q", moment))


@pytest.mark.parametrize("kind", ["quorum", "classic", "stream"])
async def test_a_message_whose_properties_cannot_be_decoded_is_a_message(
    channel: AbstractChannel,
    rabbitmq: RabbitmqServer,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """RabbitMQ does not check them, and delivers a message again whose consumer has closed the connection."""
    await declare(channel, unique_name, kind)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    given: list[tuple[int | None, dict[str, Any]]] = [
        (1_700_000_000_000_000, {"timestamp": moment}),
        (2**64 - 1, {"timestamp": moment}),
        (1_700_000_000_000_000_000, {"headers": {"at": moment}}),
        (None, {"message_id": "Q"}),
        (None, {"content_type": "Q", "content_encoding": ""}),
        (None, {"headers": {"Q": "text"}}),
    ]
    await send(channel, unique_name, b"0")
    for number, (raw, properties) in enumerate(given, 1):
        with monkeypatch.context() as patch:
            write_raw(patch, raw)
            await send(channel, unique_name, b"%d" % number, **properties)
    await send(channel, unique_name, b"7")
    target = "stream" if kind == "stream" else "queue"
    settings = {"kind": "rabbitmq", "url": rabbitmq.url, "type": "t", target: unique_name}
    read = Reading(RabbitmqSourceKind.model_validate(settings))
    await read.until(8)
    assert read.numbers == list(range(8))
    assert read.rejects == []
    if kind == "stream":
        await channel.queue_delete(unique_name)


@pytest.mark.parametrize("forged", [999_999, -1, 0, "text", True, None, {"a": 1}])
async def test_headers_that_the_broker_sets_itself_are_not_those_of_a_sender(
    channel: AbstractChannel, rabbitmq: RabbitmqServer, unique_name: str, forged: Any
) -> None:
    """A message that is copied from one stream or queue to another one has those of the first."""
    await declare(channel, unique_name, "stream")
    forging = {"x-stream-offset": forged, "x-delivery-count": forged, "timestamp_in_ms": forged}
    for number in range(5):
        await send(channel, unique_name, b"%d" % number, **({"headers": forging} if number % 2 else {}))
    settings = {"kind": "rabbitmq", "url": rabbitmq.url, "type": "t", "stream": unique_name}
    read = Reading(RabbitmqSourceKind.model_validate(settings))
    await read.until(5)
    assert read.numbers == [0, 1, 2, 3, 4]
    assert len(set(read.ids)) == 5
    await send(channel, unique_name, b"5", headers=forging)
    await read.until(6)
    assert (read.numbers[5:], read.losses, read.rejects) == ([5], [], [])
    await channel.queue_delete(unique_name)


@pytest.mark.parametrize("forged", [999_999, -1, "text", True, None, {"a": 1}])
@pytest.mark.parametrize("kind", ["quorum", "classic"])
async def test_a_count_of_deliveries_that_a_sender_has_written_parks_nothing(
    channel: AbstractChannel, rabbitmq: RabbitmqServer, unique_name: str, kind: str, forged: Any
) -> None:
    await declare(channel, unique_name, kind)
    headers = {"x-delivery-count": forged, "x-stream-offset": forged}
    for number in range(5):
        await send(channel, unique_name, b"%d" % number, **({"headers": headers} if number % 2 else {}))
    settings = {"kind": "rabbitmq", "url": rabbitmq.url, "type": "t", "queue": unique_name}
    read = Reading(RabbitmqSourceKind.model_validate(settings))
    await read.until(5)
    assert read.numbers == [0, 1, 2, 3, 4]
    assert (read.rejects, read.parked) == ([], 0)
