"""What each endpoint of the experience layer does, takes and answers."""

from services.experience_api import refusals
from services.experience_api.api import schemas
from services.experience_api.http.pages import ORIGIN_PATTERN
from services.experience_api.sessions.requested import PARAMETERS
from shared.http.openapi.document import JSON, Operation, Schema, header, query
from shared.http.openapi.endpoints import HEALTH

_ANYWHERE = (refusals.MALFORMED, refusals.BUSY, refusals.DRAINING, refusals.UNAVAILABLE)
_CLIENT = (
    refusals.WRONG_CREDENTIALS,
    refusals.CREDENTIALS_MISSING,
    refusals.LOOPBACK_ONLY,
    refusals.TOO_MANY_ATTEMPTS,
    *_ANYWHERE,
)
_TOKEN = (
    refusals.TOKEN_MISSING,
    refusals.TOKEN_REFUSED,
    refusals.TOKEN_EXPIRED,
    refusals.CLIENT_DISABLED,
    refusals.LOOPBACK_ONLY,
    refusals.ORIGIN_NOT_ALLOWED,
    refusals.TOO_MANY_ATTEMPTS,
    *_ANYWHERE,
)
_PUSH = (
    refusals.PRODUCER_REFUSED,
    refusals.PUBLISHING_NOT_PERMITTED,
    refusals.ADDRESS_NOT_ALLOWED,
    refusals.PUSH_IN_PROGRESS,
    refusals.KEY_REUSED,
    refusals.TOO_SLOW,
    refusals.TOO_LARGE,
    refusals.UNSUPPORTED_TYPE,
    refusals.TOO_MANY_ATTEMPTS,
    *_ANYWHERE,
)
_ELSEWHERE = {*_CLIENT, *_PUSH, refusals.UPGRADE_REQUIRED, refusals.NOT_CONNECTED} - {*_TOKEN}
_STREAM = tuple(refusal for refusal in refusals.ALL if refusal not in _ELSEWHERE)

SECURITY = {
    "client": {"type": "http", "scheme": "basic", "description": "The id and secret of a client."},
    "token": {"type": "http", "scheme": "bearer", "description": "The token of `POST /consumers`."},
    "ticket": {"type": "apiKey", "in": "query", "name": "ticket", "description": "Of `POST /tickets`, used once."},
    "producer": {"type": "http", "scheme": "bearer", "description": "The token of a producer."},
    "producerCertificate": {"type": "mutualTLS", "description": "The certificate of a producer."},
}

_SAID = {
    "channels": "Channels or patterns, separated by commas; by default all that the client may read.",
    "conflate": "Of the events of a time, such as `500ms`, only the latest one of each subject.",
    "filters": 'Predicates by pattern of `channels`, as a JSON object: `{"orders.*": "total > 100"}`.',
    "cursor": "The cursor of the last event that was processed: the stream resumes after it.",
    "since": "Where the stream begins without a cursor: `earliest`, a duration such as `15m`, or an RFC 3339 time.",
    "snapshot": "`true` to get the latest event of each subject first, unless the stream resumes from a cursor.",
    "watermarks": "Seconds, such as `10s`, to get watermarks: up to when each source has been read.",
    "heartbeat": "`event` to get heartbeats as events, which scripts can see; `answer` to answer them, too.",
}
_VALUES: dict[str, Schema] = {
    "snapshot": {"enum": ["", "true", "false"]},
    "heartbeat": {"enum": ["", "event", "answer"]},
}
_LAST_EVENT = header("Last-Event-ID", "As `cursor`, which it comes before. Browsers send it.")
_ONE_WAY: Schema = {"enum": ["", "event"]}
"""Heartbeats on a response, over which a client cannot answer them."""


def stream_parameters() -> dict[str, Schema]:
    """Return the query parameters of a WebSocket, as schemas by name."""
    return {
        name: {"type": "string", **_VALUES.get(name, {}), "description": _SAID[name]}
        for name in PARAMETERS
        if name != "ticket"
    }


def _stream_queries(without: str = "", **schemas: Schema) -> list[Schema]:
    """Return the parameters of an endpoint; `schemas` are those that differ from the ones of a WebSocket."""
    return [
        *(
            query(name, _SAID[name], {"type": "string", **schemas.get(name, _VALUES.get(name, {}))})
            for name in stream_parameters()
            if name != without
        ),
        _LAST_EVENT,
    ]


_TEXT: Schema = {"type": "string"}
_PUSHED = {
    "application/cloudevents+json": schemas.PUSHED,
    "application/cloudevents-batch+json": {"type": "array", "items": schemas.PUSHED, "maxItems": 1000},
    JSON: {"description": "The data of one event, with `?channel=`; or of one in binary mode, with headers `ce-…`."},
}
_DOCUMENT = Operation(
    "The OpenAPI or AsyncAPI document of this service",
    responses={200: ("The document", {JSON: {"type": "object"}})},
    security=(),
)

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/consumers"): Operation(
        "Register a client",
        "Returns a token, which replaces the one before: a connection with that one ends with 4501. A client that may "
        "have several connections gets one more: the others stay valid, and no connection ends.",
        responses={201: ("Registered", {JSON: schemas.REGISTERED})},
        problems=_CLIENT,
        security=("client",),
    ),
    ("DELETE", "/consumers"): Operation(
        "Unregister a client",
        "Its tokens are void, and its connections end with 4503.",
        responses={204: ("Unregistered", {})},
        problems=_CLIENT,
        security=("client",),
    ),
    ("POST", "/tickets"): Operation(
        "Get a ticket",
        "For scripts in browsers, which cannot send a token with an upgrade. It is used once, within seconds.",
        parameters=[
            query(
                "origin",
                "The origin of the pages that may use it; by default that of the page that asks.",
                {"type": "string", "pattern": ORIGIN_PATTERN},
            )
        ],
        responses={201: ("The ticket", {JSON: schemas.TICKET})},
        problems=_TOKEN,
        security=("token",),
    ),
    ("POST", "/subscriptions"): Operation(
        "Change the channels of a connection",
        "On any replica. The change holds from the cursor on, where the connection receives `trelay.subscribed`.",
        body={JSON: schemas.SUBSCRIPTION_CHANGE},
        responses={200: ("What the connection receives from now on", {JSON: schemas.SUBSCRIPTION})},
        problems=(
            *_TOKEN,
            refusals.TICKET_REFUSED,
            refusals.CHANNEL_NOT_PERMITTED,
            refusals.NOT_CONNECTED,
            refusals.TOO_SLOW,
            refusals.TOO_LARGE,
        ),
        security=("token", "ticket"),
    ),
    ("GET", "/ws/publish"): Operation(
        "Subscribe by WebSocket",
        "RFC 6455, subprotocol `cloudevents.json`. The AsyncAPI document describes the messages and the close codes.",
        parameters=_stream_queries(),
        responses={101: ("The stream begins", {})},
        problems=(*_STREAM, refusals.UPGRADE_REQUIRED),
        security=("token", "ticket"),
    ),
    ("GET", "/sse/publish"): Operation(
        "Subscribe by server-sent events",
        "`data` of an entry is an event, as the AsyncAPI document describes it, and `id` its cursor. The last entry "
        "has the type `trelay.closed`, and tells why the stream ends with `code`, `reason` and perhaps `wait`.",
        parameters=_stream_queries(heartbeat=_ONE_WAY),
        responses={200: ("The stream", {"text/event-stream": _TEXT})},
        problems=_STREAM,
        security=("token", "ticket"),
    ),
    ("GET", "/events"): Operation(
        "Subscribe by long polling",
        parameters=[
            *_stream_queries("watermarks", heartbeat=_ONE_WAY),
            query("wait", "Seconds to wait for events.", {"type": "number", "minimum": 0, "maximum": 60}),
        ],
        responses={200: ("The next events, none if there were none in time", {JSON: schemas.BATCH})},
        problems=_STREAM,
        security=("token", "ticket"),
    ),
    ("POST", "/entity"): Operation(
        "Push events",
        "The response is sent once the bus has stored every event. With `Idempotency-Key` a repeated push is published "
        "once.",
        parameters=[
            header(
                "Idempotency-Key",
                "The same for each repetition of a push.",
                {"type": "string", "pattern": '^("[!#-~]([ !#-~]{0,253}[!#-~])?"|[!#-~]([ !#-~]{0,253}[!#-~])?)$'},
            ),
            query("channel", "The channel of events that have none.", schemas.CHANNEL),
            query("subject", "The subject of plain JSON.", schemas.PLAIN_TEXT),
            query("type", "The type of plain JSON.", schemas.PLAIN_TEXT),
        ],
        body=_PUSHED,
        responses={202: ("Every event is stored", {JSON: schemas.RECEIPT})},
        problems=_PUSH,
        security=("producer", "producerCertificate"),
        anonymous=True,
    ),
    **HEALTH,
    ("GET", "/openapi.json"): _DOCUMENT,
    ("GET", "/asyncapi.json"): _DOCUMENT,
}
