"""A message that is a CloudEvent keeps its attributes, where that is set."""

import json
from typing import Any

import pytest

from services.system_api.sources.queue.message import Message
from shared.errors import Malformed
from tests.unit.services.system_api.sources.queue.messages import event_of

ATTRIBUTES = {"specversion": "1.0", "id": "17", "source": "https://acme.example/shop", "type": "order.made"}
STRUCTURED = "application/cloudevents+json; charset=utf-8"


def kept(message: Message, **options: Any) -> dict[str, Any]:
    return event_of(message, "orders.eu", cloudevents=True, **options)


def structured(**more: Any) -> Message:
    return Message("7", json.dumps({**ATTRIBUTES, **more}).encode(), key="key", content_type=STRUCTURED, time=0.0)


def test_structured_mode() -> None:
    event = kept(structured(subject="4711", data={"a": 1}, region="eu", time="2026-01-01T00:00:00Z"))
    assert {name: event[name] for name in ATTRIBUTES} == ATTRIBUTES
    assert (event["subject"], event["data"], event["region"]) == ("4711", {"a": 1}, "eu")
    assert (event["channel"], event["time"]) == ("orders.eu", "2026-01-01T00:00:00Z")
    assert event["traceparent"]


def test_what_is_missing_is_added() -> None:
    event = kept(structured(data={"a": 1}, dataschema=None))
    assert (event["subject"], event["time"]) == ("key", "1970-01-01T00:00:00.000Z")
    assert "dataschema" not in event
    assert kept(structured(data={"a": {"b": "c"}}), subject="a.b")["subject"] == "c"
    assert kept(structured())["subject"] == "key"


@pytest.mark.parametrize("prefix", ["ce_", "ce-", "cloudEvents:", "cloudEvents_", ""])
def test_binary_mode_of_each_binding(prefix: str) -> None:
    headers = {f"{prefix}{name}": value for name, value in ATTRIBUTES.items()} | {
        f"{prefix}region": "eu",
        "x-other": "1",
    }
    event = kept(Message("7", b'{"a":1}', key="key", headers=headers, content_type="application/json"))
    assert {name: event[name] for name in ATTRIBUTES} == ATTRIBUTES
    assert (event["data"], event["datacontenttype"], event["region"]) == ({"a": 1}, "application/json", "eu")
    assert "x-other" not in event


def test_binary_mode_with_other_content_or_none() -> None:
    headers = {f"ce_{name}": value for name, value in ATTRIBUTES.items()}
    event = kept(Message("7", b"\x89PNG", headers=headers, content_type="image/png"))
    assert (event["datacontenttype"], event["data_base64"]) == ("image/png", "iVBORw==")
    assert "data_base64" not in kept(Message("7", b"", headers=headers, content_type="image/png"))
    assert kept(Message("7", b"1", headers=headers))["data"] == 1


def test_attributes_that_trelay_decides_on_are_replaced() -> None:
    event = kept(structured(data=1, channel="private.channel", cursor="x"))
    assert event["channel"] == "orders.eu"
    assert "cursor" not in event


def test_without_the_setting_an_event_is_data() -> None:
    event = event_of(structured(data=1))
    assert event["id"] == "orders:7"
    assert event["data"]["id"] == "17"


def test_other_messages_are_no_events() -> None:
    for headers in ({}, {"ce_id": "1"}, {"id": "1", "type": "t"}):
        assert kept(Message("7", b'{"a":1}', key="k", headers=headers))["id"] == "orders:7"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (Message("7", b"[]", content_type="application/cloudevents-batch+json"), "batch"),
        (Message("7", b"", content_type="application/cloudevents+avro"), "avro"),
        (Message("7", b"{}", content_type=STRUCTURED), "specversion"),
        (structured(data=1, data_base64="AA=="), "exclude"),
        (structured(source="/trelay"), "reserved"),
        (structured(type="trelay.gap"), "reserved"),
        (structured(UPPER="x"), "UPPER"),
        (
            Message("7", b"1", headers={f"ce_{name}": value for name, value in ATTRIBUTES.items()} | {"ce_data": "1"}),
            "ce_data",
        ),
        (Message("7", b"{no json", headers={f"ce_{name}": value for name, value in ATTRIBUTES.items()}), "JSON"),
    ],
)
def test_malformed_events_are_refused(message: Message, fault: str) -> None:
    with pytest.raises(Malformed, match=fault):
        kept(message)
