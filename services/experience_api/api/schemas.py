"""The JSON Schemas of events, as subscribers and producers see them."""

from shared.expression.bounded import LONGEST
from shared.http.openapi.document import Schema, object_of

PLAIN_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"}
"""Without control characters."""
_TEXT = PLAIN_TEXT
CHANNEL: Schema = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
    "maxLength": 200,
    "description": "What subscribers subscribe to.",
}

EVENT: Schema = {
    "type": "object",
    "description": "A CloudEvent 1.0 in JSON. Extension attributes have names of lower-case letters and digits.",
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_TEXT, "description": "With `source`, the identity of the event."},
        "source": {**_TEXT, "format": "uri-reference"},
        "type": _TEXT,
        "subject": {**_TEXT, "description": "The key of the entity. Events of one subject keep their order."},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": _TEXT,
        "data": {"description": "The entity, where it is JSON."},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
        "channel": CHANNEL,
        "traceparent": {
            "type": "string",
            "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
            "description": "W3C Trace Context.",
        },
    },
    "required": ["specversion", "id", "source", "type"],
}

PUSHED: Schema = {
    "allOf": [
        EVENT,
        {
            "properties": {
                "source": {"not": {"const": "/trelay"}},
                "type": {"not": {"pattern": r"^trelay\."}},
                "cursor": False,
            },
            "not": {"required": ["data", "data_base64"]},
        },
    ],
    "description": "An event that is pushed. One without a channel needs `?channel=`.",
}

CURSOR: Schema = {"type": "string", "description": "The place in the stream to resume from. Opaque."}

DELIVERED: Schema = {
    "allOf": [
        EVENT,
        {
            "properties": {"cursor": CURSOR},
            "required": ["cursor", "channel"],
        },
    ]
}
"""An event as a subscriber gets it."""

RECEIPT = object_of({"accepted": {"type": "integer"}, "ids": {"type": "array", "items": {"type": "string"}}})

REGISTERED = object_of(
    {
        "client_id": {"type": "string"},
        "token": {"type": "string"},
        "token_type": {"const": "Bearer"},
        "expires_after_days_disconnected": {"type": "number"},
    }
)

TICKET = object_of(
    {
        "ticket": {"type": "string"},
        "expires_in": {"type": "number", "description": "Seconds."},
        "origin": {"type": ["string", "null"], "description": "The origin of the pages that may use it."},
    }
)

_CHANNELS: Schema = {"type": "array", "items": {"type": "string", "description": "A channel or a pattern."}}

SUBSCRIPTION_CHANGE: Schema = {
    "type": "object",
    "properties": {
        "connection": {"type": "string", "format": "uuid", "description": "The id in `trelay.connected`."},
        "channels": {**_CHANNELS, "description": "All channels, in place of `subscribe` and `unsubscribe`."},
        "subscribe": _CHANNELS,
        "unsubscribe": _CHANNELS,
        "filters": {
            "type": "object",
            "description": "Predicates by pattern; null removes one. With `channels`, all of them.",
            "additionalProperties": {"type": ["string", "null"], "maxLength": LONGEST},
        },
        "conflate": {
            "type": ["string", "null"],
            "description": "Conflation from 100ms to 60s, such as `500ms`; null ends it.",
            "pattern": "^[0-9]{1,6}(ms|s|m)$",
        },
    },
    "required": ["connection"],
    "additionalProperties": False,
}

SUBSCRIPTION = object_of({"channels": _CHANNELS, "cursor": {**CURSOR, "type": ["string", "null"]}})

BATCH = object_of({"cursor": CURSOR, "events": {"type": "array", "items": {"type": "object"}}})
