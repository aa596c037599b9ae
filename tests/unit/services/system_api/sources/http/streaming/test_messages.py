"""What a message of a stream becomes."""

import json
import random
from typing import Any

import pytest

from services.system_api.sources.http.streaming.connection import Message
from services.system_api.sources.http.streaming.messages import MessageItems
from services.system_api.sources.http.streaming.options import SseSourceOptions, WebSocketSourceOptions
from services.system_api.sources.source import EventBuilder
from shared.events.event import Channel
from shared.runtime.clock import SYSTEM_CLOCK

AT = 1_800_000_000.0
CLOUDEVENT = {"specversion": "1.0", "id": "o:1", "source": "/sources/o", "type": "order", "data": {"a": 1}}


def items(kind: str = "websocket", **given: Any) -> MessageItems:
    options: WebSocketSourceOptions | SseSourceOptions
    if kind == "websocket":
        options = WebSocketSourceOptions.model_validate({"kind": kind, "url": "wss://x.example", "type": "t"} | given)
    else:
        options = SseSourceOptions.model_validate({"kind": kind, "url": "https://x.example", "type": "t"} | given)
    channel = None if options.channel is None else Channel(options.channel)
    maker = MessageItems(EventBuilder("s", "t", channel, SYSTEM_CLOCK, random.Random(1)), options)
    maker.begin_batch()
    return maker


def message(body: bytes | dict[str, Any] | None, **more: Any) -> Message:
    return Message(json.dumps(body).encode() if isinstance(body, dict) else body, AT, **more)


def event(maker: MessageItems, given: Message) -> dict[str, Any]:
    (item,) = maker.of(given, "k")
    assert item.outgoing is not None, item.reject
    found: dict[str, Any] = json.loads(item.outgoing.value or b"")
    return found


def test_records_of_a_message() -> None:
    maker = items("sse", subject={"header": "event"})
    found = event(maker, message({"a": 1}, headers={"event": "price"}))
    assert (found["id"], found["subject"], found["time"]) == ("s:k", "price", "2027-01-15T08:00:00.000Z")
    (nothing,) = maker.of(message(None), "k")
    assert (nothing.outgoing, nothing.reject, nothing.last) == (None, None, True)


def test_a_message_that_is_cut_is_a_reject() -> None:
    (item,) = items().of(message(b"{", cut=True), "k")
    assert item.reject is not None
    assert "message_limit" in item.reject.error


@pytest.mark.parametrize(
    ("body", "cursor"),
    [(b'{"at":{"o":7}}', "7"), (b'{"at":{"o":""}}', None), (b"{}", None), (b"{no", None), (b'{"at":{"o":[1]}}', None)],
)
def test_the_cursor_of_a_message(body: bytes, cursor: str | None) -> None:
    maker = items(cursor="at.o", cursor_parameter="after")
    assert maker.cursor(message(body)) == cursor
    assert maker.cursor(message(None)) is None
    assert maker.cursor(message(body, cut=True)) is None


def test_server_sent_events_have_an_id() -> None:
    assert items("sse").cursor(message(b"{}", cursor="7")) == "7"
    assert items("sse").cursor(message(b"{}", cursor="")) is None


def test_cloudevents_keep_their_attributes() -> None:
    given = CLOUDEVENT | {"cursor": "c", "channel": "orders", "subject": "1", "extension": "x"}
    found = event(items(cloudevents=True), message(given))
    assert found == {key: value for key, value in given.items() if key != "cursor"} | {
        "time": found["time"],
        "traceparent": found["traceparent"],
    }
    found = event(items(cloudevents=True, channel="other"), message(given))
    assert (found["channel"], found["id"]) == ("other", "o:1")
    assert event(items(cloudevents=True), message(CLOUDEVENT))["subject"] == "s"


def test_the_control_events_of_another_trelay_are_not_published_and_a_gap_is_a_loss() -> None:
    maker = items(cloudevents=True)
    control = CLOUDEVENT | {"source": "/trelay", "type": "trelay.gap", "data": {"reason": "not-kept"}}
    (item,) = maker.of(message(control), "k")
    assert (item.outgoing, item.reject) == (None, None)
    loss = maker.loss(message(control))
    assert loss is not None
    assert "not-kept" in loss.text
    assert maker.loss(message(CLOUDEVENT | {"data": "trelay.gap"})) is None
    assert maker.loss(message(b"trelay.gap")) is None
    assert maker.loss(message(CLOUDEVENT)) is None
    assert items().loss(message(control)) is None


@pytest.mark.parametrize(
    "body", [b"{no json", b"{}", b'{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"x"}']
)
def test_what_is_no_cloudevent_is_a_reject(body: bytes) -> None:
    (item,) = items(cloudevents=True).of(message(body), "k")
    assert item.reject is not None
    assert item.reject.value == body
