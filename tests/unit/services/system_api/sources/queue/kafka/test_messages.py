"""What a record becomes: its key, headers and time, and a record without a value."""

from typing import Any

from services.system_api.sources.queue.kafka.messages import message_of
from shared.bus.kafka.decoding import KafkaRecord
from tests.unit.services.system_api.sources.queue.messages import event_of


def record(value: bytes | None = b"1", **given: Any) -> KafkaRecord:
    defaults: dict[str, Any] = {
        "topic": "o",
        "partition": 2,
        "offset": 7,
        "timestamp": 1_700_000_000_500,
        "key": b"k",
        "headers": (),
    }
    return KafkaRecord(value=value, **(defaults | given))


def test_a_message_has_the_place_the_key_and_the_time_of_its_record() -> None:
    message = message_of(record(headers=[("a", b"1"), ("n", None)]), "r1.")
    assert (message.place, message.partition, message.position) == ("r1.o/2/7", "o/2", 7)
    assert (message.key, message.headers, message.time) == ("k", {"a": "1"}, 1_700_000_000.5)
    event = event_of(message)
    assert (event["subject"], event["time"], event["id"]) == ("k", "2023-11-14T22:13:20.500Z", "orders:r1.o/2/7")


def test_bytes_that_are_no_text_are_base64() -> None:
    message = message_of(record(key=b"\x00\xff", headers=[("h", b"\xff"), ("h", b"last")]), "")
    assert (message.key, message.headers) == ("AP8=", {"h": "last"})
    assert message_of(record(key=None), "").key == ""


def test_a_record_without_a_value_is_null() -> None:
    message = message_of(record(None, headers=[("Content-Type", b"application/avro")]), "")
    assert event_of(message)["data"] is None


def test_cloudevents_in_both_modes() -> None:
    names = {"specversion": b"1.0", "id": b"i", "source": b"/s", "type": b"theirs"}
    binary = record(headers=[(f"ce_{name}", value) for name, value in names.items()])
    event = event_of(message_of(binary, ""), cloudevents=True)
    assert (event["id"], event["type"], event["data"], event["subject"]) == ("i", "theirs", 1, "k")
    value = b'{"specversion":"1.0","id":"i","source":"/s","type":"theirs","data":{"a":1}}'
    structured = record(value, headers=[("content-type", b"application/cloudevents+json")])
    assert event_of(message_of(structured, ""), cloudevents=True)["data"] == {"a": 1}
    assert event_of(message_of(structured, ""))["data"]["id"] == "i"
