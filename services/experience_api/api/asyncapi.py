"""The AsyncAPI 3.0 document of the stream for subscribers, and of the topics on the bus."""

from typing import Any

from services.experience_api.api import schemas
from services.experience_api.api.operations import SECURITY, stream_parameters
from services.experience_api.hub import close_codes
from services.experience_api.stream import control_events
from shared.bus.topics import TopicsOptions
from shared.http.openapi.document import Schema, object_of
from shared.runtime.identity import release

_INTEGER: Schema = {"type": "integer"}
_NUMBER: Schema = {"type": "number"}
_TEXT: Schema = {"type": "string"}


def _receiving(members: dict[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object that also says what a connection receives.

    `filters` and `conflate` are absent if it has none, and `optional` members may be.
    """
    found = object_of({"channels": {"type": "array", "items": _TEXT}, **members})
    filters = {"type": "object", "additionalProperties": _TEXT}
    return {**found, "properties": {**found["properties"], "filters": filters, "conflate": _NUMBER, **optional}}


def _of_message(members: dict[str, Schema]) -> Schema:
    """Return the schema of what became of a message; `id` is absent if it was sent without."""
    found = object_of({"message": _INTEGER, **members})
    return {**found, "properties": {**found["properties"], "id": _TEXT}}


def _snapshot() -> Schema:
    """Return the schema of the two phases of a snapshot.

    `restarted` is absent unless it begins again, and `not_kept` unless it lacks a channel.
    """
    begin = object_of(
        {
            "phase": {"const": "begin"},
            "as_of": {"type": ["string", "null"]},
            "behind": {"type": "integer"},
            "missed": {"type": "integer"},
        }
    )
    begin = {**begin, "properties": {**begin["properties"], "restarted": _TEXT}}
    end = object_of({"phase": {"const": "end"}, "count": {"type": "integer"}})
    end = {**end, "properties": {**end["properties"], "not_kept": {"type": "array", "items": _TEXT}}}
    return {"oneOf": [begin, end]}


_CONTROL = {
    control_events.CONNECTED: (
        "The first message of a connection. The stream begins at its cursor. `largest_message`: if it may send.",
        _receiving({"connection": _TEXT, "heartbeat": _NUMBER, "largest_frame": _INTEGER}, largest_message=_INTEGER),
    ),
    control_events.GAP: (
        "Events may be missing before its cursor; the stream continues after it.",
        object_of({"reason": _TEXT, "detail": _TEXT}),
    ),
    control_events.SUBSCRIBED: (
        "The connection receives these channels from its cursor on.",
        _receiving({"reason": {"enum": ["requested", "granted"]}}),
    ),
    control_events.OVERSIZED: (
        "The next event is larger than what this subscriber accepted before.",
        object_of({"source": {}, "id": {}, "bytes": _INTEGER, "skip": _TEXT, "detail": _TEXT}),
    ),
    control_events.REFUSED: ("Something that the subscriber sent was refused.", object_of({"detail": _TEXT})),
    control_events.ACCEPTED: (
        "A message of the client is stored on the inbound topic. `message` counts those of the connection.",
        _of_message({"event": _TEXT}),
    ),
    control_events.REJECTED: (
        "A message of the client is not stored, and would be rejected again.",
        _of_message({"code": _TEXT, "detail": _TEXT}),
    ),
    control_events.DRAINING: (
        "The replica shuts down: reconnect after `wait` seconds.",
        object_of({"wait": _NUMBER}),
    ),
    control_events.HEARTBEAT: ("The connection lives.", {"type": "object"}),
    control_events.WATERMARK: (
        "All that the source had at `as_of` has been delivered, on these channels.",
        object_of({"source": _TEXT, "as_of": _TEXT, "channels": {"type": "array", "items": _TEXT}}),
    ),
    control_events.SNAPSHOT: (
        "A snapshot begins or ends: between the two come the latest events of subjects, and behind it the stream.",
        _snapshot(),
    ),
}
_MEDIA = "application/cloudevents+json"
_JSON = "application/json"
_MESSAGE_ID: Schema = {"type": "string", "pattern": "^[!-~]{1,255}$"}
_CONTENT: dict[str, Schema] = {
    "data": {"description": "Any JSON."},
    "data_base64": {"type": "string", "contentEncoding": "base64"},
}


def _sent(kind: str, members: dict[str, Schema], **more: Any) -> Schema:
    """Return the schema of a message that the service tells from others by its type."""
    found = object_of({"type": {"const": kind}, **members})
    return {**found, "additionalProperties": False, **more}


_RECEIVED: dict[str, dict[str, Any]] = {
    "heartbeat_answer": {
        "contentType": _JSON,
        "summary": "Shows that the client lives. With `heartbeat=answer` it answers each `trelay.heartbeat`.",
        "payload": _sent(control_events.HEARTBEAT, {}),
    },
    "message": {
        "contentType": _JSON,
        "summary": "A message of a client that may send, with an id: it is stored once, however often it is sent.",
        "payload": {
            "oneOf": [_sent("trelay.message", {"id": _MESSAGE_ID, name: each}) for name, each in _CONTENT.items()]
        },
    },
    "inbound": {"summary": "Another message of a client that may send: any text or bytes."},
}
"""What clients send, by name."""


_QUERY: Schema = {"type": "object", "properties": stream_parameters(), "additionalProperties": False}
"""The parameters of an upgrade; a ticket is among the security schemes."""


def asyncapi(topics: TopicsOptions) -> dict[str, Any]:
    """Return the document."""
    messages = {"event": {"contentType": _MEDIA, "summary": "An event.", "payload": schemas.DELIVERED}}
    for kind, (summary, data) in _CONTROL.items():
        own = {"properties": {"source": {"const": "/trelay"}, "type": {"const": kind}, "data": data}}
        payload = {"allOf": [schemas.EVENT, {**own, "required": ["data"]}]}
        messages[_name(kind)] = {"contentType": _MEDIA, "summary": summary, "payload": payload}
    messages["record"] = {
        "contentType": _MEDIA,
        "summary": "An event on the bus: the value of a record.",
        "payload": schemas.EVENT,
    }
    delivered = [name for name in messages if name != "record"]
    messages.update(_RECEIVED)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Trelay",
            "version": release(),
            "description": "The stream for subscribers, and the topics on the bus.",
        },
        "defaultContentType": _MEDIA,
        "channels": {
            "stream": {
                "address": "/ws/publish",
                "summary": "The stream of a subscriber, by WebSocket; `/sse/publish` has the same events.",
                "messages": _references([*delivered, *_RECEIVED]),
                "bindings": {"ws": {"method": "GET", "query": _QUERY, "bindingVersion": "0.1.0"}},
                "x-close-codes": [
                    {"code": each.code, "reason": each.name, "reconnect": each.reconnect} for each in close_codes.ALL
                ],
            },
            **{name: _topic(topic, said, message) for name, topic, said, message in _topics(topics)},
        },
        "operations": {
            "deliver": _operation("send", "stream", delivered, secured=True),
            "send": _operation("receive", "stream", list(_RECEIVED), secured=True),
            **{f"publish{name.title()}": _operation("send", name, ["record"]) for name, *_ in _topics(topics)},
        },
        "components": {"messages": messages, "securitySchemes": {"token": _bearer()}},
    }


def _topics(topics: TopicsOptions) -> list[tuple[str, str, str, str]]:
    return [
        ("ingest", topics.ingest, "Events as read from upstream; the key is the subject.", "record"),
        ("publish", topics.publish, "Events for subscribers; the key is the channel.", "record"),
        ("inbound", topics.inbound, "What clients have sent, as events; the key is the client.", "record"),
    ]


def _topic(address: str, summary: str, message: str) -> dict[str, Any]:
    return {"address": address, "summary": summary, "messages": _references([message]), "bindings": {"kafka": {}}}


def _operation(action: str, channel: str, messages: list[str], *, secured: bool = False) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }
    if secured:
        shown["security"] = [{"$ref": "#/components/securitySchemes/token"}]
    return shown


def _references(names: list[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _bearer() -> dict[str, Any]:
    return dict(SECURITY["token"])


def _name(kind: str) -> str:
    return kind.replace("trelay.", "trelay_")
