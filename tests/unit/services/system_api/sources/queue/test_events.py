"""What a message becomes."""

from typing import Any

import pytest

from services.system_api.sources.queue.message import Message
from shared.errors import Malformed, TooLarge
from tests.unit.services.system_api.sources.queue.messages import event_of, maker


def test_the_json_of_a_message_is_the_data_of_its_event() -> None:
    event = event_of(Message("7", b'{"id": 12345678901234567890}', key="4711", time=1_767_323_045.678))
    assert event["id"] == "orders:7"
    assert event["source"] == "/sources/orders"
    assert event["subject"] == "4711"
    assert event["time"] == "2026-01-02T03:04:05.678Z"
    assert event["data"] == {"id": 12345678901234567890}


@pytest.mark.parametrize("time", [None, -1.0, 1e30, float("nan")])
def test_without_a_time_that_can_be_written_it_is_that_of_reading(time: float | None) -> None:
    assert event_of(Message("7", b"1", time=time))["time"] > "2026"


@pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"a":\r\n 1}\n', b'{"a":\n1}'])
def test_line_ends_and_a_byte_order_mark_are_no_part_of_the_data(body: bytes) -> None:
    made = maker()
    value = made.event(Message("7", body)).value or b""
    assert b"\n" not in value
    assert b"\r" not in value
    assert event_of(Message("7", body))["data"] == {"a": 1}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{no json", "malformed"),
        (b"", "truncated"),
        (b'"\xff"', "UTF-8"),
        (b"1e999", "1e999"),
        (b'"\\ud800"', "urrogate"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(Malformed, match=fault):
        event_of(Message("7", body))


def test_a_message_above_the_limit_is_refused_and_its_head_is_kept() -> None:
    message = Message("7", b'"' + b"x" * 200_000 + b'"')
    made = maker(message_limit=100_000)
    with pytest.raises(TooLarge, match=r"200002 bytes, the limit is 100000") as refused:
        made.event(message)
    reject = made.reject(message, str(refused.value))
    assert (reject.id, len(reject.value), reject.origin) == ("orders:7", 65_536, "orders:q:7")


def test_a_reject_keeps_a_message_that_is_not_too_large() -> None:
    reject = maker().reject(Message("7", b"{no json", deliveries=3), "not JSON", attempts=3)
    assert (reject.value, reject.error, reject.attempts) == (b"{no json", "q, 7: not JSON", 3)


def test_a_refused_message_is_not_looked_at() -> None:
    with pytest.raises(Malformed, match="too often"):
        maker().event(Message("7", b"1"), refused="too often")
    with pytest.raises(Malformed, match="compressed"):
        maker().event(Message("7", b"1", fault="compressed"))


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"key": True}, "key"),
        ({"header": "tenant"}, "acme"),
        ("customer.id", "42"),
        ("customer.name & '/' & $string(customer.id)", "Ada/42"),
        ("customer.name", "Ada"),
    ],
)
def test_the_subject_is_where_the_settings_say(subject: object, expected: str) -> None:
    message = Message("7", b'{"customer":{"id":42,"name":"Ada"}}', key="key", headers={"tenant": "acme"})
    assert event_of(message, subject=subject)["subject"] == expected


def test_a_message_without_a_key_has_the_queue_as_its_subject() -> None:
    assert event_of(Message("7", b"1"))["subject"] == "q"


@pytest.mark.parametrize(
    ("subject", "body"),
    [
        ({"header": "tenant"}, b"1"),
        ("customer.id", b"{}"),
        ("customer.id", b'{"customer":{"id":true}}'),
        ("customer.id", b'{"customer":{"id":""}}'),
        ("customer.id", b'{"customer":{"id":[1]}}'),
        ("customer.id", b'{"customer":{"id":1.5}}'),
    ],
)
def test_a_missing_subject_is_refused(subject: object, body: bytes) -> None:
    with pytest.raises(Malformed, match="subject"):
        event_of(Message("7", body), subject=subject)


@pytest.mark.parametrize(
    ("content_type", "body", "kept"),
    [
        ("image/png", b"\x89PNG", "image/png"),
        ("text/plain", b"hello", "text/plain"),
        (None, b"\x89PNG", "application/octet-stream"),
    ],
)
def test_other_content_is_kept_in_base64_where_that_is_set(content_type: str | None, body: bytes, kept: str) -> None:
    message = Message("7", body, key="k", content_type=content_type, time=0.0)
    event = event_of(message, content="any")
    assert event["datacontenttype"] == kept
    assert event["data_base64"]
    assert event["time"] == "1970-01-01T00:00:00.000Z"
    with pytest.raises(Malformed):
        event_of(message)


def test_with_other_content_allowed_json_stays_json() -> None:
    for content_type in (None, "application/json; charset=utf-8", "application/vnd.acme+json"):
        assert event_of(Message("7", b'{"a":1}', content_type=content_type), content="any")["data"] == {"a": 1}
    with pytest.raises(Malformed):
        event_of(Message("7", b"{no json", content_type="application/json"), content="any")


def test_base64_has_no_data_for_a_subject_to_be_in() -> None:
    with pytest.raises(Malformed, match="no JSON data"):
        event_of(Message("7", b"x", content_type="text/plain"), content="any", subject="id")


def test_with_a_channel_the_channel_is_the_key_of_the_record() -> None:
    made = maker("orders.eu", content="any")
    assert made.event(Message("7", b"x", key="k", content_type="text/plain")).key == b"orders.eu"
    assert maker(content="any").event(Message("7", b"x", key="k", content_type="text/plain")).key == b"k"


@pytest.mark.parametrize("subject", [{"key": True}, {"header": "h"}])
def test_text_that_no_reader_accepts_is_a_fault_of_its_message(subject: Any) -> None:
    message = Message("7", b"1", key="\ud800", headers={"h": "a\udcff"})
    with pytest.raises(Malformed, match="found text that UTF-8 cannot encode"):
        maker(subject=subject).event(message)
