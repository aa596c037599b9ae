"""The JSON Schemas of events, as subscribers and producers see them."""

from collections.abc import Mapping

from services.experience_api.hub import patterns
from shared.events.attributes import INTEGERS, NAME_PATTERN, UNREADABLE
from shared.events.event import CHANNEL_LIMIT, CHANNEL_PATTERN, TRACEPARENT_PATTERN
from shared.expression.bounded import LONGEST
from shared.http.openapi.document import Schema, object_of, or_null, with_optional

PLAIN_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$"}
"""Without control characters."""
CHANNEL: Schema = {
    "type": "string",
    "pattern": CHANNEL_PATTERN,
    "maxLength": CHANNEL_LIMIT,
    "description": "What subscribers subscribe to.",
}
PATTERN: Schema = {
    "type": "string",
    "pattern": patterns.PATTERN,
    "maxLength": patterns.LENGTH_LIMIT,
    "description": "A channel or a pattern.",
}

_TEXT: Schema = {"type": "string", "minLength": 1}
_REQUIRED: dict[str, Schema] = {
    "specversion": {"const": "1.0"},
    "id": {**_TEXT, "description": "With `source`, the identity of the event."},
    "source": {**_TEXT, "format": "uri-reference"},
    "type": _TEXT,
}
_OPTIONAL: dict[str, Schema] = {
    "subject": {**_TEXT, "description": "The key of the entity. Events of one subject keep their order."},
    "time": {"type": "string", "format": "date-time"},
    "datacontenttype": _TEXT,
    "dataschema": {"type": "string", "format": "uri"},
    "data_base64": {
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    },
    "channel": CHANNEL,
    "traceparent": {"type": "string", "pattern": TRACEPARENT_PATTERN, "description": "W3C Trace Context."},
}
_EXTENSION: Schema = {"type": ["string", "boolean", "integer"], "minimum": INTEGERS.start, "maximum": INTEGERS.stop - 1}


def _event(optional: Mapping[str, Schema], extension: Schema) -> Schema:
    return {
        "type": "object",
        "description": "A CloudEvent 1.0 in JSON. Extension attributes have names of lower-case letters and digits.",
        "properties": {**_REQUIRED, **optional, "data": {"description": "The entity, where it is JSON."}},
        "propertyNames": {"pattern": f"^({NAME_PATTERN}|data_base64)$", "not": {"enum": sorted(UNREADABLE)}},
        "additionalProperties": extension,
        "required": list(_REQUIRED),
    }


EVENT = _event(_OPTIONAL, _EXTENSION)

_NULL: Schema = {"type": "null"}
PUSHED: Schema = {
    "allOf": [
        _event(
            {name: or_null(schema) for name, schema in _OPTIONAL.items()},
            {**_EXTENSION, "type": [*_EXTENSION["type"], "null"]},
        ),
        {
            "properties": {
                "source": {"not": {"const": "/trelay"}},
                "type": {"not": {"pattern": r"^trelay\."}},
                "cursor": _NULL,
            },
            "not": {"properties": {"data_base64": {"type": "string"}}, "required": ["data", "data_base64"]},
        },
    ],
    "description": "An event that is pushed; null stands for an attribute that it does not have. One without a channel "
    "needs `?channel=`.",
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

_CHANNELS: Schema = {"type": "array", "items": PATTERN}

_NONE: Schema = {"maxItems": 0}
SUBSCRIPTION_CHANGE: Schema = {
    "type": "object",
    "properties": {
        "connection": {"type": "string", "format": "uuid", "description": "The id in `trelay.connected`."},
        "channels": {**or_null(_CHANNELS), "description": "All channels, in place of `subscribe` and `unsubscribe`."},
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
    "anyOf": [
        {
            "properties": {"channels": {"type": "array"}, "subscribe": _NONE, "unsubscribe": _NONE},
            "required": ["channels"],
        },
        {"properties": {"channels": _NULL, "subscribe": {"minItems": 1}}, "required": ["subscribe"]},
        {"properties": {"channels": _NULL, "unsubscribe": {"minItems": 1}}, "required": ["unsubscribe"]},
        {"properties": {"channels": _NULL, "filters": {"minProperties": 1}}, "required": ["filters"]},
        {"properties": {"channels": _NULL}, "required": ["conflate"]},
    ],
}

SUBSCRIPTION = object_of({"channels": _CHANNELS, "cursor": {**CURSOR, "type": ["string", "null"]}})

BATCH = with_optional(
    object_of(
        {
            "cursor": {**CURSOR, "description": "Where the next request resumes."},
            "events": {
                "type": "array",
                "description": "Events and control events, as the AsyncAPI document describes them.",
                "items": EVENT,
            },
        }
    ),
    {
        "closed": {
            **object_of({"code": {"type": "integer"}, "reason": {"type": "string"}}),
            "description": "Why the service has ended the request, as in a Close frame; absent if it was answered in "
            "the usual way.",
        }
    },
)
