"""What RabbitMQ delivers, as messages."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from aiormq.abc import DeliveredMessage
from pamqp import commands
from pamqp.header import ContentHeader

from services.system_api.sources.queue.rabbitmq.inspection import Declaration
from services.system_api.sources.queue.rabbitmq.messages import (
    fingerprint,
    from_queue,
    from_stream,
    newest_tag,
    offset_of,
)


def delivered(body: bytes = b"1", *, tag: int = 7, redelivered: bool = False, **properties: Any) -> DeliveredMessage:
    delivery = commands.Basic.Deliver("tag", tag, redelivered, "exchange", "orders.eu")
    header = ContentHeader(properties=commands.Basic.Properties(**properties))
    return DeliveredMessage(delivery=delivery, header=header, body=body, channel=None)  # type: ignore[arg-type] # unused


def test_a_message_of_a_queue() -> None:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    headers: dict[str, Any] = {
        "a": "x", "b": bytearray(b"\xff"), "c": True, "d": 1.5, "e": [1], "f": {"g": 1}, "h": b"x", "i": False,
    }  # fmt: skip
    message = from_queue(delivered(message_id="m-1", content_type="text/plain", timestamp=when, headers=headers))
    assert (message.place, message.key, message.content_type) == ("m-1", "orders.eu", "text/plain")
    assert message.headers == {"a": "x", "b": "\ufffd", "c": "true", "d": "1.5", "h": "x", "i": "false"}
    assert (message.time, message.identified, message.deliveries) == (when.timestamp(), True, 1)


def test_the_newest_tag_is_that_of_one_channel() -> None:
    channel: Any = object()
    ours = [dataclasses.replace(delivered(tag=tag), channel=channel) for tag in (7, 9)]
    messages = [from_queue(each) for each in (*ours, delivered())]
    assert newest_tag(messages, channel) == 9
    assert newest_tag([*messages[:1], messages[1]._replace(token=None)], channel) == 7
    assert newest_tag(messages[2:], channel) == 0


def test_without_an_id_the_content_is_the_id() -> None:
    message = from_queue(delivered(b"a"))
    assert not message.identified
    assert message.place == from_queue(delivered(b"a")).place != from_queue(delivered(b"b")).place


def test_control_characters_in_an_id_are_escaped() -> None:
    assert from_queue(delivered(message_id="a\nb\x00")).place == "a\\nb\\x00"


@pytest.mark.parametrize(
    ("headers", "redelivered", "deliveries"),
    [({}, False, 1), ({}, True, 2), ({"x-delivery-count": 4}, True, 5), ({"x-delivery-count": "odd"}, False, 1)],
)
def test_deliveries_are_counted(headers: dict[str, Any], redelivered: bool, deliveries: int) -> None:
    assert from_queue(delivered(headers=headers, redelivered=redelivered)).deliveries == deliveries


@pytest.mark.parametrize(
    ("arguments", "version", "count", "final"),
    [
        ({"x-delivery-limit": 4}, 3, 3, None),
        ({"x-delivery-limit": 4}, 3, 4, "drops it"),
        ({"x-delivery-limit": 4, "x-dead-letter-exchange": "d"}, 3, 4, "sends it to its dead-letter exchange"),
        ({"x-delivery-limit": -1}, 4, 90, None),
        ({"x-queue-type": "quorum"}, 3, 90, None),
        ({"x-queue-type": "quorum"}, 4, 19, None),
        ({"x-queue-type": "quorum"}, 4, 20, "drops it"),
        ({"x-queue-type": "classic"}, 4, 90, None),
    ],
)
def test_the_last_delivery_by_the_limit_of_a_queue(
    arguments: dict[str, str | int], version: int, count: int, final: str | None
) -> None:
    declared = Declaration(arguments=arguments, major_version=version)
    assert from_queue(delivered(headers={"x-delivery-count": count}), declared).final == final
    assert from_queue(delivered(), declared).final is None


def test_the_time_of_the_broker_wins() -> None:
    stamped = delivered(headers={"timestamp_in_ms": 1500}, timestamp=datetime(2026, 1, 2, tzinfo=UTC))
    assert from_queue(stamped).time == 1.5
    assert from_queue(delivered()).time is None


@pytest.mark.parametrize(("encoding", "fault"), [(None, False), ("identity", False), ("UTF-8", False), ("gzip", True)])
def test_a_compressed_body_is_a_fault(encoding: str | None, fault: bool) -> None:
    assert (from_queue(delivered(content_encoding=encoding)).fault is not None) == fault


def test_a_message_of_a_stream() -> None:
    message = from_stream(delivered(headers={"x-stream-offset": 17, "a": "x"}), "r1.")
    assert (message.place, message.position, message.headers) == ("r1.17", 17, {"a": "x"})
    assert offset_of(delivered(headers={"x-stream-offset": 17})) == 17


def test_a_fingerprint_tells_messages_apart() -> None:
    messages = [
        delivered(),
        delivered(b"2"),
        delivered(message_id="m"),
        delivered(timestamp=datetime(2026, 1, 2, tzinfo=UTC)),
    ]
    assert len({fingerprint(message) for message in messages}) == 4
