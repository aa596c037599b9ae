"""The JSON Schemas of sources, as operators see them."""

from services.system_api.operations.requests import Command
from services.system_api.operations.windows import COUNTS
from services.system_api.supervisor.status import State
from shared.http.openapi.document import Schema, body_of, by_name, object_of, or_null, with_optional

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
_TEXTS: Schema = {"type": "array", "items": TEXT}
_NUMBER: Schema = {"type": "number"}
_FLAG: Schema = {"type": "boolean"}

POSITION = by_name(TEXT, "A place in the upstream, by part: a file, a partition, or the whole source.")

PLACE: Schema = {
    "description": "Everything there is, what comes from now on, what has changed since a time, or what comes after a "
    "saved position. Which of them a source has depends on its kind.",
    "anyOf": [
        {"enum": ["beginning", "end"]},
        body_of({"time": TIME}, ("time",)),
        body_of({"position": {**POSITION, "minProperties": 1}}, ("position",)),
    ],
}

_PAUSED = object_of({"by": TEXT, "reason": TEXT, "at": or_null(TIME)})

_REQUEST = with_optional(
    object_of(
        {
            "command": {"enum": [command.value for command in Command]},
            "generation": {**COUNT, "description": "Grows with each request for the source."},
            "to": {"type": ["string", "null"], "description": "Of a rewind: the place, as JSON."},
            "by": TEXT,
            "at": TIME,
            "state": {"enum": ["pending", "done", "failed"]},
        }
    ),
    {
        "error": {**TEXT, "description": "Why it failed; nothing was changed."},
        "result": {"type": "object", "description": "What it changed."},
        "ended_at": TIME,
    },
)

_STATE: Schema = {
    "enum": [state.value for state in State],
    "description": "- `standby`: no replica runs it.\n"
    "- `blocked`: the bus or the database is unavailable.\n"
    "- `starting`: it is being opened.\n"
    "- `running`: it works.\n"
    "- `degraded`: it works, and a part of it does not, such as one file.\n"
    "- `retrying`: it does not work, and is retried by its policy.\n"
    "- `down`: its policy is exhausted; it is retried until it works.\n"
    "- `paused`: an operator has paused it.",
}

STATUS = object_of(
    {
        "owner": {"type": ["string", "null"], "description": "The replica that runs it."},
        "epoch": {"type": ["integer", "null"], "description": "Grows with each owner."},
        "as_of": {**or_null(TIME), "description": "When its owner said so."},
        "stale": {**_FLAG, "description": "Whether the database did not answer: this is what was known before."},
        "state": _STATE,
        "since": {**TIME, "description": "When it entered the state."},
        "polled_at": or_null(TIME),
        "caught_up_at": {
            **or_null(TIME),
            "description": "When nothing was left to read: everything older is published.",
        },
        "caught_up_seconds_ago": or_null(_NUMBER),
        "error": {"type": ["string", "null"], "description": "The last error, until it works again."},
        "failures": {**COUNT, "description": "Failures in a row."},
        "outage_since": {**or_null(TIME), "description": "When the outage began that an alert reports."},
        "problems": {**_TEXTS, "description": "What is wrong with parts of it."},
        "reported": {**_FLAG, "description": "Whether alerts have reported everything that is wrong."},
        "waiting": {**_TEXTS, "description": "What was seen upstream and cannot be published yet, with the reason."},
        "counts": object_of(dict.fromkeys((*COUNTS, "unaccounted", "redelivered", "parked"), COUNT)),
        "published_per_second": _NUMBER,
        "rejected_per_second": _NUMBER,
        "position": {**POSITION, "description": "The saved position, with some of its parts if there are many."},
        "parts": {**COUNT, "description": "All parts of the position."},
        "paused": {**or_null(_PAUSED), "description": "Who paused it, why and when."},
        "request": {**or_null(_REQUEST), "description": "The newest rewind or snapshot, and what came of it."},
    }
)
SOURCE: Schema = {
    **STATUS,
    "properties": {"name": TEXT, **STATUS["properties"]},
    "required": ["name", *STATUS["required"]],
}
SOURCES = by_name(STATUS)

WHOLE_POSITION = object_of({"position": POSITION, "parts": COUNT})

WINDOWS = object_of(
    {
        "windows": {
            "type": "array",
            "items": object_of({"from": TIME, "to": TIME, **dict.fromkeys(COUNTS, COUNT)}),
        }
    }
)

PREVIEW = object_of({"dry_run": {"const": True}, "from": POSITION, "to": POSITION, "parts_moved": COUNT})

RECONCILED = with_optional(
    object_of(
        {
            "name": TEXT,
            "from": or_null(TIME),
            "to": or_null(TIME),
            "upstream": {**COUNT, "description": "Entities of the upstream that changed last within the range."},
            "published": {**COUNT, "description": "Entities whose newest event is within the range."},
            "difference": {"type": "integer", "description": "`upstream` minus `published`."},
            "events": {**COUNT, "description": "Events within the range."},
            "complete": {
                **_FLAG,
                "description": "Whether the topic has everything since the beginning of the range.",
            },
        }
    ),
    {"not_compared": {**_TEXTS, "description": "What was left out, with the reason."}},
)
