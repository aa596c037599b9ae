"""What each endpoint of the process layer does, takes and answers."""

from services.process_api.api import schemas
from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.filters import FILTERS, TEXT_LIMIT
from services.process_api.dead_letters.requests import PAGE, PAGE_LIMIT
from shared.events.event import CHANNEL_LIMIT, CHANNEL_PATTERN
from shared.http.openapi.document import JSON, Operation, Problem, Reason, Schema, body_of, object_of, query
from shared.http.openapi.endpoints import COMMANDED, DOCUMENT, HEALTH, MALFORMED, OPERATED, OPERATOR, READ, REASON

SECURITY = OPERATOR

_NO_PIPELINE = Reason(404, "not-found", "There is no such pipeline, or it has no shadow")
_NO_LETTER = Reason(404, "not-found", "There is no such letter, or retention has deleted it")
_CONFLICT = Reason(409, "conflict", "It cannot be done now")
_NOT_RELOADED = Reason(422, "unprocessable-entity", "The settings are wrong, and nothing has changed")
_OPERATOR = tuple(SECURITY)
_FILTER: Schema = {**schemas.TEXT, "maxLength": TEXT_LIMIT}
_SAID = {
    "pipeline": "The pipeline that refused it, by name or with its version; `*` stands for any characters.",
    "source": "`*` stands for any characters.",
    "stage": "`*` stands for any characters.",
    "error": "A part of the error, in any case of letters; `*` stands for any characters.",
    "since": "Written at this time or later.",
    "until": "Written before this time.",
}
_FILTER_SCHEMAS: dict[str, Schema] = {
    name: schemas.TIME if name in {"since", "until"} else _FILTER for name in sorted(FILTERS)
}
_FILTER_PARAMETERS = tuple(query(name, _SAID[name], schema) for name, schema in _FILTER_SCHEMAS.items())
_STATUS = query("status", "What became of it.", {"enum": [*(each.value for each in Status), "all"], "default": "open"})
_CURSOR = query("cursor", "The cursor of the last answer; the other parameters are as before.")


def _read(
    summary: str, schema: Schema, *problems: Problem, description: str = "", parameters: tuple[Schema, ...] = ()
) -> Operation:
    return Operation(
        summary,
        description,
        parameters=parameters,
        responses={200: ("The answer", {JSON: schema})},
        problems=problems,
        security=_OPERATOR,
    )


def _command(summary: str, description: str, body: Schema, *responses: tuple[int, str, Schema]) -> Operation:
    return Operation(
        summary,
        description,
        body={JSON: body},
        body_required=bool(body.get("required")),
        responses={status: (meaning, {JSON: schema}) for status, meaning, schema in responses},
        problems=(*COMMANDED, _NO_PIPELINE),
        security=_OPERATOR,
    )


def _decided(status: Status) -> Schema:
    """Return the schema of what became of a replay or a drop."""
    return object_of(
        {
            "dry_run": schemas.FLAG,
            "operation": {**schemas.TEXT, "description": "The id of the request, which its continuations share."},
            status.value: {**schemas.COUNT, "description": "In a dry run: what would be."},
            "refused": schemas.COUNT,
            "refusals": {
                "type": "array",
                "items": object_of({"id": schemas.ID, "reason": schemas.TEXT}),
                "description": "The first ones.",
            },
            "decided_before": {**schemas.COUNT, "description": "Named letters on which another request has decided."},
            "cursor": schemas.CURSOR,
            "snapshot": {
                **schemas.TEXT,
                "description": "As `cursor`: these letters from the first on, and no newer ones.",
            },
        }
    )


def _decide(summary: str, description: str, status: Status, more: dict[str, Schema]) -> Operation:
    members: dict[str, Schema] = {
        "ids": {
            "type": ["array", "null"],
            "items": schemas.ID,
            "minItems": 1,
            "maxItems": PAGE_LIMIT,
            "description": "The letters; without it, those that the filter matches.",
        },
        "all": {**schemas.FLAG, "description": "All letters."},
        **{name: {**schema, "description": _SAID[name]} for name, schema in _FILTER_SCHEMAS.items()},
        "reason": REASON,
        "dry_run": {**schemas.FLAG, "description": "Only say what it would do."},
        "cursor": {"type": ["string", "null"], "description": "The cursor of the last answer, to continue."},
    }
    return Operation(
        summary,
        f"{description} Expects `ids`, a filter, or `all`. It ends after some seconds, and `cursor` of the answer "
        "continues it.",
        body={JSON: body_of({**members, **more})},
        responses={200: ("What became of the letters", {JSON: _decided(status)})},
        problems=(*COMMANDED, _CONFLICT),
        security=_OPERATOR,
    )


_ACCEPTED = (202, "Accepted; every replica obeys it in its partitions", schemas.PIPELINE)
_CHANNEL: Schema = {"type": "string", "pattern": CHANNEL_PATTERN, "maxLength": CHANNEL_LIMIT}
_REPLAYED: dict[str, Schema] = {
    "to": {
        "anyOf": [
            {"enum": ["pipeline"]},
            body_of({"pipeline": {"type": "string", "minLength": 1}}, ("pipeline",)),
            body_of({"channel": _CHANNEL}, ("channel",)),
        ],
        "description": "To the pipeline that refused it, to another one that takes its source, or to a channel.",
        "default": "pipeline",
    },
    "event": {"type": "object", "description": "The whole event, edited; with `ids` of one letter."},
    "data": {"description": "The edited `data` of the event; with `ids` of one letter."},
}

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/pipelines"): _read("List pipelines", schemas.PIPELINES, *READ),
    ("GET", "/pipelines/{name}"): _read("Show a pipeline", schemas.PIPELINE, *READ, _NO_PIPELINE),
    ("GET", "/pipelines/{name}/shadow"): _read(
        "Show how the shadow of a pipeline differs",
        schemas.SHADOW,
        *OPERATED,
        _NO_PIPELINE,
        description="On the replica that answers.",
    ),
    ("POST", "/pipelines/{name}/pause"): _command(
        "Pause a pipeline",
        "On all replicas, at the next record of each partition. Its partitions wait with it.",
        body_of({"reason": REASON}),
        _ACCEPTED,
    ),
    ("POST", "/pipelines/{name}/resume"): _command(
        "Resume a pipeline", "Nothing changes if it is not paused.", body_of({}), _ACCEPTED
    ),
    ("POST", "/pipelines/{name}/rewind"): Operation(
        "Run a pipeline again from a place",
        "Only this pipeline sees the events behind that place again. With `dry_run`, the answer says how many there "
        "are, and nothing changes. A pipeline with state needs `reset_state`.",
        body={
            JSON: body_of({"to": schemas.PLACE, "dry_run": schemas.FLAG, "reset_state": schemas.FLAG}, ("to",)),
        },
        responses={
            200: ("What the rewind would do", {JSON: schemas.PLANNED}),
            202: ("Accepted; each partition carries it out once", {JSON: schemas.PIPELINE}),
        },
        problems=(*COMMANDED, _NO_PIPELINE, _CONFLICT),
        security=_OPERATOR,
    ),
    ("POST", "/pipelines/reload"): Operation(
        "Read the settings file again",
        "On all replicas. If the settings are wrong, the answer says what is wrong, and all pipelines run as before.",
        body={JSON: body_of({})},
        body_required=False,
        responses={202: ("Reloaded on this replica; the others follow", {JSON: schemas.RELOADED})},
        problems=(*COMMANDED, _CONFLICT, _NOT_RELOADED),
        security=_OPERATOR,
    ),
    ("GET", "/dead-letters"): _read(
        "List dead letters",
        schemas.LETTERS,
        *OPERATED,
        MALFORMED,
        description="A page may have fewer letters than `limit`, and none: `cursor` tells whether there are more.",
        parameters=(
            *_FILTER_PARAMETERS,
            _STATUS,
            query("order", "By when they were written.", {"enum": ["newest", "oldest"], "default": "newest"}),
            query(
                "limit", "Letters at most.", {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": PAGE}
            ),
            _CURSOR,
        ),
    ),
    ("GET", "/dead-letters/counts"): _read(
        "Count dead letters by what went wrong",
        schemas.COUNTS,
        *OPERATED,
        MALFORMED,
        parameters=(*_FILTER_PARAMETERS, _STATUS, _CURSOR),
    ),
    ("GET", "/dead-letters/{id}"): _read(
        "Show a dead letter with its value", schemas.WHOLE_LETTER, *OPERATED, MALFORMED, _NO_LETTER
    ),
    ("POST", "/dead-letters/replay"): _decide(
        "Replay dead letters", "Exactly once, whatever fails meanwhile.", Status.REPLAYED, _REPLAYED
    ),
    ("POST", "/dead-letters/drop"): _decide(
        "Drop dead letters",
        "They are kept until retention deletes them, and are not open any more.",
        Status.DROPPED,
        {},
    ),
    **HEALTH,
    ("GET", "/openapi.json"): DOCUMENT,
}
