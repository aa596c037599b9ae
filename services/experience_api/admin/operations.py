"""What each endpoint of the admin API does, takes and answers."""

from services.experience_api import refusals
from services.experience_api.admin.clients import (
    CHANNELS_LIMIT,
    CONNECTIONS_LIMIT,
    NOTE_LIMIT,
    OVERLAP_LIMIT,
    SECRET_MINIMUM,
)
from services.experience_api.admin.requests import PAGE, PAGE_LIMIT
from services.experience_api.api import schemas
from services.experience_api.auth.secrets import CHOSEN_LIMIT
from services.experience_api.explain.requests import ID_LIMIT, LIMIT_MIB, MOST_MIB, SINCE
from services.experience_api.explain.verdict import Answer
from services.experience_api.registry.clients import Policy
from shared.http.openapi.document import JSON, Operation, Reason, Schema, body_of, object_of, or_null, query
from shared.http.openapi.endpoints import COMMANDED, DOCUMENT, NO_NUL, OPERATED, OPERATOR

SECURITY: dict[str, Schema] = {
    **OPERATOR,
    "operatorCertificate": {"type": "mutualTLS", "description": "The certificate of an operator."},
}


_NOT_FOUND = Reason(404, "not-found", "There is no such client, consumer or connection")
_CONFLICT = Reason(409, "conflict", "A client of this id exists")

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_PATTERNS: Schema = {
    "type": "array",
    "items": schemas.PATTERN,
    "maxItems": CHANNELS_LIMIT,
}
_ID: Schema = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"}
_NOTE: Schema = {"type": "string", "maxLength": NOTE_LIMIT, "pattern": NO_NUL}
_OVERLAP: Schema = {"type": "number", "minimum": 0, "maximum": int(OVERLAP_LIMIT)}
_SECRET: Schema = {
    "type": ["string", "null"],
    "pattern": schemas.PLAIN_TEXT["pattern"],
    "minLength": SECRET_MINIMUM,
    "maxLength": CHOSEN_LIMIT,
    "description": "Chosen, 15 characters at least and 256 bytes at most; by default a random one is made.",
}
_SETTABLE: dict[str, Schema] = {
    "channels": _PATTERNS,
    "may_send": _FLAG,
    "loopback_only": _FLAG,
    "note": _NOTE,
    "policy": {"enum": [policy.value for policy in Policy], "description": "What a connection beyond the limit does."},
    "max_connections": {"type": "integer", "minimum": 1, "maximum": CONNECTIONS_LIMIT},
}
_ENDING: Schema = {
    **or_null(
        object_of(
            {
                "at": _TIME,
                "code": {"type": "integer", "description": "The close code; 1006 without a Close frame."},
                "reason": {**_TEXT, "description": "The name of the close reason."},
                "lasted_seconds": {"type": "number"},
            }
        )
    ),
    "description": "How the connection that ended last did so, since the client registered.",
}
_TOKENS: Schema = {
    "type": "integer",
    "minimum": 0,
    "description": "How many tokens it has, of which some may have expired; 0 unless it is registered.",
}
_CLIENT = object_of(
    {
        "client_id": _ID,
        **_SETTABLE,
        "disabled": _FLAG,
        "created_at": _TIME,
        "previous_secret_until": {**_TIME, "description": "Until when the secret before this one is valid as well."},
        "tokens": _TOKENS,
        "last_ending": _ENDING,
    }
)
_WITH_SECRET: Schema = {
    **_CLIENT,
    "properties": {
        **_CLIENT["properties"],
        "client_secret": {**_TEXT, "description": "If it was made here. It is not stored, and never shown again."},
    },
}
_NUMBER_OR_NULL: Schema = {"type": ["integer", "null"]}
_CONNECTION = object_of(
    {
        "connection_id": {"type": "string", "format": "uuid"},
        "node": {**_TEXT, "description": "The replica that holds it."},
        "from": {**_TEXT, "description": "The address of the client."},
        "since": _TIME,
        "channels": {"type": ["array", "null"], "items": _TEXT, "description": "What it receives."},
        "cursor": {"type": ["string", "null"], "description": "Up to which everything has been written to it."},
        "live": {"type": ["boolean", "null"], "description": "Whether it has caught up."},
        "lag": {**_NUMBER_OR_NULL, "description": "Records of the publish topic after its cursor."},
        "buffered_bytes": {**_NUMBER_OR_NULL, "description": "Bytes that wait for it in its replica."},
        "acknowledged_bytes": {**_NUMBER_OR_NULL, "description": "Bytes that its kernel has acknowledged."},
    }
)
_CONSUMER = object_of(
    {
        "client_id": _ID,
        "registered_at": _TIME,
        "last_seen_at": {**_TIME, "description": "Null while it is connected."},
        "tokens": _TOKENS,
        "last_ending": _ENDING,
        "connections": {"type": "array", "items": _CONNECTION},
    }
)
_NEXT: Schema = {"type": ["string", "null"], "description": "For `after`; null if this is the last page."}
_PAGE = (
    query(
        "after",
        "The last client id of the page before; empty for the first page.",
        {"type": "string", "pattern": "^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$"},
    ),
    query("limit", "Entries of a page.", {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE}),
)
_OPERATOR = tuple(SECURITY)
_ANSWER: Schema = {"enum": [answer.value for answer in Answer]}
_MIB: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_MIB, "default": LIMIT_MIB}
_HOP = object_of({"hop": _TEXT, "answer": _ANSWER, "text": _TEXT, "at": _TIME, "evidence": {"type": "object"}})
_EXPLANATION: Schema = {
    **object_of(
        {
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "read": {"type": "object", "description": "How many records and bytes were read, and what was cut short."},
            "cursor": {"type": ["string", "null"], "description": "To continue with; null once it is done."},
            "hops": {"type": "array", "items": _HOP},
            "conclusion": {"type": ["object", "null"], "description": "The hop that decides, and what to do."},
        }
    ),
}


def _on_client(summary: str, description: str = "", schema: Schema = _CLIENT) -> Operation:
    return Operation(
        summary,
        description,
        responses={200: ("Done", {JSON: schema})},
        problems=(*COMMANDED, _NOT_FOUND),
        security=_OPERATOR,
    )


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/clients"): Operation(
        "List clients",
        parameters=_PAGE,
        responses={200: ("A page", {JSON: object_of({"clients": {"type": "array", "items": _CLIENT}, "next": _NEXT})})},
        problems=(*OPERATED, refusals.MALFORMED),
        security=_OPERATOR,
    ),
    ("POST", "/clients"): Operation(
        "Add a client",
        body={JSON: body_of({"client_id": _ID, "secret": _SECRET, **_SETTABLE}, ("client_id",))},
        responses={201: ("Added", {JSON: _WITH_SECRET})},
        problems=(*COMMANDED, _CONFLICT),
        security=_OPERATOR,
    ),
    ("GET", "/clients/{client_id}"): Operation(
        "Show a client",
        responses={200: ("The client", {JSON: _CLIENT})},
        problems=(*OPERATED, _NOT_FOUND),
        security=_OPERATOR,
    ),
    ("PATCH", "/clients/{client_id}"): Operation(
        "Change a client",
        "Its channels change for a living connection within two seconds. A connection ends with 4007 if `may_send` "
        "changes or `loopback_only` becomes true: the next one has that permission. All else changes at the next one.",
        body={JSON: {**body_of(_SETTABLE), "minProperties": 1}},
        responses={200: ("Changed", {JSON: _CLIENT})},
        problems=(*COMMANDED, _NOT_FOUND),
        security=_OPERATOR,
    ),
    ("DELETE", "/clients/{client_id}"): _on_client(
        "Remove a client",
        "With its token; its connection ends with 4503 within two seconds, on whichever replica it is.",
        object_of({"client_id": _ID, "removed": {"const": True}}),
    ),
    ("POST", "/clients/{client_id}/rotate"): Operation(
        "Replace the secret of a client",
        "The secret before remains valid for `overlap` seconds, and no older one. Its token and connection stay.",
        body={JSON: body_of({"overlap": _OVERLAP, "secret": _SECRET}, ("overlap",))},
        responses={200: ("Replaced", {JSON: _WITH_SECRET})},
        problems=(*COMMANDED, _NOT_FOUND),
        security=_OPERATOR,
    ),
    ("POST", "/clients/{client_id}/disable"): _on_client(
        "Disable a client", "It can neither register nor connect; its connection ends with 4504."
    ),
    ("POST", "/clients/{client_id}/enable"): _on_client(
        "Enable a client", "Its token is valid again, unless it has expired."
    ),
    ("POST", "/clients/{client_id}/revoke"): _on_client(
        "Revoke the token of a client",
        "Its connection ends with 4503. It can register again with its secret.",
        object_of({"client_id": _ID, "revoked": {**_FLAG, "description": "Whether it had a token."}}),
    ),
    ("GET", "/consumers"): Operation(
        "List registered clients with their connections",
        "On all replicas. What a replica does not tell of its connections in time is null.",
        parameters=_PAGE,
        responses={
            200: ("A page", {JSON: object_of({"consumers": {"type": "array", "items": _CONSUMER}, "next": _NEXT})})
        },
        problems=(*OPERATED, refusals.MALFORMED),
        security=_OPERATOR,
    ),
    ("GET", "/consumers/{client_id}"): Operation(
        "Show a registered client with its connections",
        responses={200: ("The consumer", {JSON: _CONSUMER})},
        problems=(*OPERATED, _NOT_FOUND),
        security=_OPERATOR,
    ),
    ("DELETE", "/connections/{connection_id}"): _on_client(
        "End a connection",
        "It ends with 4007 within two seconds, on whichever replica it is. The client may connect again.",
        object_of({"connection_id": _TEXT, "client_id": _ID, "disconnected": {"const": True}}),
    ),
    ("GET", "/events"): Operation(
        "Read events",
        "As a subscriber of every channel would, from the history in memory or from the bus.",
        parameters=(
            query("channels", "Channels or patterns, separated by commas; by default all."),
            query("cursor", "The cursor of the last answer: the events after it."),
            query("since", "Where to begin without a cursor: `earliest`, a duration such as `15m`, or a time."),
            query("limit", "Events at most.", {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100}),
            query("wait", "Seconds to wait for events.", {"type": "number", "minimum": 0, "maximum": 60, "default": 1}),
        ),
        responses={200: ("The next events, none if there were none in time", {JSON: schemas.BATCH})},
        problems=(*OPERATED, refusals.MALFORMED, refusals.DRAINING),
        security=_OPERATOR,
    ),
    ("GET", "/explain"): Operation(
        "Explain why a client did or did not get an event",
        "Needs `event` and `client`. Reads the topics by time, for some seconds; an answer with a `cursor` is not "
        "done: ask again with it. It writes nothing and joins no group.",
        parameters=(
            query("event", "The id of the event; not needed with `cursor`.", {**_TEXT, "maxLength": ID_LIMIT}),
            {**query("client", "The id of the client.", _ID), "required": True},
            query("source", "The name of its source, to tell events of the same id apart."),
            query("since", f"The earliest time of the event: `earliest`, a duration, or a time; by default `{SINCE}`."),
            query("until", "The latest time at which it was ingested; by default now."),
            query("limit", "MiB of each topic that are read at most.", _MIB),
            query("cursor", "The cursor of the last answer; the event is the one that was asked for first."),
        ),
        responses={200: ("The progress, and the explanation once it is done", {JSON: _EXPLANATION})},
        problems=(*OPERATED, refusals.MALFORMED),
        security=_OPERATOR,
    ),
    ("POST", "/events"): Operation(
        "Publish events",
        "Takes what `POST /entity` of the public listener takes, to any channel.",
        parameters=(query("channel", "The channel of events that have none.", schemas.CHANNEL),),
        body={
            "application/cloudevents+json": schemas.PUSHED,
            "application/cloudevents-batch+json": {"type": "array", "items": schemas.PUSHED, "maxItems": 1000},
            JSON: {"description": "The data of one event, with `?channel=`."},
        },
        responses={202: ("Every event is stored", {JSON: schemas.RECEIPT})},
        problems=(
            *COMMANDED,
            refusals.UNSUPPORTED_TYPE,
            refusals.TOO_SLOW,
            refusals.PUSH_IN_PROGRESS,
            refusals.KEY_REUSED,
            refusals.BUSY,
        ),
        security=_OPERATOR,
    ),
    ("GET", "/openapi.json"): DOCUMENT,
}
