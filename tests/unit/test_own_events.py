"""No entrance lets in what a subscriber would take for one of Trelay's own events, such as `trelay.gap`."""

import json
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict
from pydantic import ValidationError

from services.experience_api.http.entity import Defaults, EntityOptions, Push, parse_events
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.pipeline.steps.set import SetOptions
from services.process_api.pipeline.steps.stateful.aggregate import Aggregate
from services.process_api.pipeline.steps.stateful.schedule import Schedule
from services.system_api.sources.http.polling.options import BySnapshotOptions
from services.system_api.sources.http.received.items import Received, ReceivedItems
from services.system_api.sources.http.received.options import ReceivedOptions
from services.system_api.sources.http.streaming.connection import Message as StreamMessage
from services.system_api.sources.http.streaming.messages import MessageItems
from services.system_api.sources.http.streaming.options import WebSocketSourceOptions
from services.system_api.sources.queue.cloudevent import attributes_of
from services.system_api.sources.queue.message import Message
from services.system_api.sources.source import EventBuilder, SourceOptions
from services.system_api.sources.table.options import TableSourceOptions
from shared.errors import Malformed
from shared.events.event import Channel
from shared.runtime.clock import SYSTEM_CLOCK
from shared.settings import Options
from tests.unit.services.process_api.making import pipeline

STRUCTURED = "application/cloudevents+json"
GOOD = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "t",
    "subject": "1",
    "channel": "c",
    "data": {"v": 1},
}
FORGED = [{"type": "trelay.gap"}, {"source": "/trelay"}]
Entrance = Callable[[dict[str, Any]], str | None]
"""Takes an event; returns the reason why it is refused."""


def builder() -> EventBuilder:
    return EventBuilder("orders", "t", Channel("c"), SYSTEM_CLOCK, random.Random(1))


def pushed(body: bytes, headers: dict[str, str], query: dict[str, str]) -> str | None:
    defaults = Defaults("2026-01-31T12:00:00Z", lambda: "1", lambda: f"00-{'a' * 32}-{'b' * 16}-01")
    try:
        parse_events(Push(CIMultiDict(headers), MultiDict(query), body), defaults, EntityOptions())
    except Malformed as exc:
        return str(exc)
    return None


def entity(event: dict[str, Any]) -> str | None:
    return pushed(json.dumps(event).encode(), {"Content-Type": STRUCTURED}, {})


def entity_batch(event: dict[str, Any]) -> str | None:
    return pushed(json.dumps([GOOD, event]).encode(), {"Content-Type": "application/cloudevents-batch+json"}, {})


def entity_binary(event: dict[str, Any]) -> str | None:
    headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
    return pushed(b"{}", {"Content-Type": "application/json", **headers}, {})


def queue(event: dict[str, Any]) -> str | None:
    return of_queue(Message("7", json.dumps(event).encode(), content_type=STRUCTURED))


def queue_binary(event: dict[str, Any]) -> str | None:
    return of_queue(Message("7", b"{}", headers={f"ce_{name}": text for name, text in event.items() if name != "data"}))


def of_queue(message: Message) -> str | None:
    try:
        attributes_of(message, message.content_type or "")
    except Malformed as exc:
        return str(exc)
    return None


def stream(event: dict[str, Any]) -> str | None:
    given = {"kind": "websocket", "url": "wss://shop.example/events", "type": "t", "channel": "c", "cloudevents": True}
    maker = MessageItems(builder(), WebSocketSourceOptions.model_validate(given))
    maker.begin_batch()
    (item,) = maker.of(StreamMessage(json.dumps(event).encode(), 1.0), "1")
    return None if item.reject is None else item.reject.error


def ingested(event: dict[str, Any]) -> str | None:
    """Give what another program wrote to the ingest topic."""
    return processed(event)


def processed(event: dict[str, Any], *steps: Any) -> str | None:
    try:
        pipeline(*steps).run(json.dumps(event).encode())
    except Rejected as exc:
        return str(exc)
    return None


ENTRANCES: list[Entrance] = [entity, entity_batch, entity_binary, queue, queue_binary, stream, ingested]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("entrance", ENTRANCES)
def test_an_event_that_looks_like_one_of_trelay_is_refused(entrance: Entrance, forged: dict[str, str]) -> None:
    assert entrance(GOOD) is None
    assert "reserved for Trelay" in (entrance(GOOD | forged) or "")


def received(record: dict[str, Any], type_from: Any, headers: dict[str, str]) -> str | None:
    maker = ReceivedItems(builder(), ReceivedOptions.model_validate({"type_from": type_from}))
    maker.begin_batch()
    (item,) = maker.of(Received(7, "d", json.dumps(record).encode(), 1.0, "application/json", headers))
    return None if item.reject is None else item.reject.error


NAMED: dict[str, Callable[[str], str | None]] = {
    "entity, query": lambda type_: pushed(b"{}", {"Content-Type": "application/json"}, {"channel": "c", "type": type_}),
    "set": lambda type_: processed(GOOD | {"data": {"kind": type_}}, {"set": {"type": "=kind"}}),
    "rename": lambda type_: processed(GOOD | {"data": {"kind": type_}}, {"rename": {"data.kind": "type"}}),
    "type_from": lambda type_: received({"kind": type_}, "kind", {}),
    "type_from, header": lambda type_: received({}, {"header": "X-Kind"}, {"X-Kind": type_}),
}


@pytest.mark.parametrize("entrance", NAMED)
def test_a_type_that_is_reserved_is_refused_where_events_get_theirs(entrance: str) -> None:
    assert NAMED[entrance]("trelays.first") is None
    assert "reserved for Trelay" in (NAMED[entrance]("trelay.closed") or "")


FILE = {"type": "t", "channel": "c"}
TABLE = {"kind": "table", "url": "sqlite:///a.db", "table": "t", "key": "id", "mode": "diff", **FILE}
SETTINGS: list[tuple[type[Options], dict[str, Any], str, str]] = [
    (SourceOptions, FILE, "type", "trelay.gap"),
    (TableSourceOptions, TABLE, "deleted_type", "trelay.gap"),
    (BySnapshotOptions, {"kind": "snapshot"}, "deleted_type", "trelay.gap"),
    (EntityOptions, {}, "type", "trelay.gap"),
    (EntityOptions, {}, "source", "/trelay"),
    (Schedule, {"quiet": 60}, "type", "trelay.heartbeat"),
    (Aggregate, {"window": {"tumbling": 60}, "values": {"orders": "count"}}, "type", "trelay.gap"),
]


@pytest.mark.parametrize(("options", "given", "name", "value"), SETTINGS)
def test_a_setting_that_is_reserved_is_refused(
    options: type[Options], given: dict[str, Any], name: str, value: str
) -> None:
    options.model_validate({**given, name: f"{value}s" if name == "source" else "trelays.first"})
    with pytest.raises(ValidationError, match="Trelay") as caught:
        options.model_validate({**given, name: value})
    assert [error["loc"] for error in caught.value.errors()] == [(name,)]


def test_a_constant_that_is_reserved_is_refused() -> None:
    with pytest.raises(ValidationError, match="reserved for Trelay"):
        SetOptions.model_validate({"set": {"type": "trelay.gap"}})
    assert msgspec.to_builtins(SetOptions.model_validate({"set": {"type": "t"}}).set) == {"type": "t"}
