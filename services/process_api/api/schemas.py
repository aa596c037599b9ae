"""The JSON Schemas of pipelines and dead letters, as operators see them."""

from services.process_api.dead_letters.decisions import Status
from services.process_api.shadow.messages import Result
from shared.events.dead_letter import Content
from shared.http.openapi.document import Schema, body_of, by_name, object_of, or_null, with_optional

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "format": "date-time"}
FLAG: Schema = {"type": "boolean"}
_TEXTS: Schema = {"type": "array", "items": TEXT}
_NUMBER: Schema = {"type": "number"}


PLACE: Schema = {
    "description": "The earliest event that is kept, a time, or an offset by partition of the ingest topic.",
    "anyOf": [
        {"enum": ["beginning"]},
        body_of({"time": TIME}, ("time",)),
        body_of(
            {
                "offsets": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[0-9]{1,5}$"},
                    "additionalProperties": COUNT,
                }
            },
            ("offsets",),
        ),
    ],
}

_PARTITION = with_optional(
    object_of({"replica": {**TEXT_OR_NULL, "description": "The replica that has it."}}),
    {
        "position": {**COUNT, "description": "The offset from which the pipeline goes on."},
        "end": COUNT,
        "waiting": COUNT,
    },
)
_REWIND = object_of(
    {
        "id": TEXT,
        "to": {**TEXT, "description": "The place, as JSON."},
        "by": TEXT,
        "at": TIME,
        "state": {"enum": ["pending", "done"]},
        "partitions": by_name({"enum": ["pending", "done"]}, "By partition."),
    }
)

PIPELINE_STATUS = object_of(
    {
        "state": {
            "enum": ["running", "paused", "held", "unknown"],
            "description": "`held`: a step waits for another system, and its partitions with it. `unknown`: "
            "requests of operators could not be read yet.",
        },
        "unknown": by_name(TEXT, "What could not be found out in time, with the reason."),
        "version": {**TEXT, "description": "On the replica that answers."},
        "sources": {**_TEXTS, "description": "Names or patterns."},
        "channel": {**TEXT_OR_NULL, "description": "Where its events go unless a step says otherwise."},
        "steps": {**_TEXTS, "description": "Places of its steps in the settings."},
        "stateful": FLAG,
        "topics": object_of({"in": _TEXTS, "out": _TEXTS}),
        "paused": {
            **or_null(object_of({"by": TEXT, "reason": TEXT, "at": TIME})),
            "description": "By whom, why and when.",
        },
        "held": {
            "type": "array",
            "items": object_of({"partition": COUNT, "step": TEXT, "error": TEXT, "since": TIME}),
            "description": "The partitions in which a step waits.",
        },
        "lag": {"type": ["integer", "null"], "description": "Records that wait, in all partitions."},
        "partitions": by_name(_PARTITION, "By number. Offsets are absent where the bus did not return them."),
        "state_size": by_name(object_of({"keys": COUNT, "bytes": COUNT}), "By step, in all partitions."),
        "events": object_of({"taken": COUNT, "published": COUNT, "dead_letters": COUNT}),
        "rates": object_of({"published_per_second": _NUMBER, "dead_letters_per_second": _NUMBER}),
        "last_error": {
            **or_null(object_of({"error": TEXT, "origin": TEXT, "at": TIME})),
            "description": "The newest dead letter; `origin` is the topic, partition and offset of its input.",
        },
        "rewind": {**or_null(_REWIND), "description": "The newest rewind, and which partitions have carried it out."},
        "replicas": by_name(object_of({"version": TEXT_OR_NULL, "as_of": TIME}), "By node."),
    }
)
PIPELINE = object_of({"name": TEXT, **PIPELINE_STATUS["properties"]})
PIPELINES = by_name(PIPELINE_STATUS)

RELOADED = object_of({"reloaded": _TEXTS, "versions": by_name(TEXT, "Versions of the pipelines, by name.")})

PLANNED = object_of(
    {
        "name": TEXT,
        "partitions": by_name(object_of({"position": COUNT, "to": COUNT, "events": COUNT}), "By number."),
        "events": {**COUNT, "description": "Events that the pipeline would take again."},
        "exact": {**FLAG, "description": "Whether these are all; counting ends after some seconds."},
        "refused": {**TEXT_OR_NULL, "description": "Why the rewind would be refused."},
    }
)

SHADOW = object_of(
    {
        "name": TEXT,
        "replica": TEXT,
        "version": TEXT,
        "results": object_of({result.value: COUNT for result in Result}),
        "differences": {
            "type": "array",
            "items": object_of(
                {
                    "time": TIME,
                    "result": {"enum": [result.value for result in Result]},
                    "place": {**TEXT, "description": "Topic, partition and offset of the event."},
                    "error": TEXT_OR_NULL,
                    "old": {"type": ["array", "null"], "description": "The published events; null for a dead letter."},
                    "new": {"type": "array", "description": "The events of the shadow."},
                }
            ),
            "description": "The newest ones.",
        },
    }
)

ID: Schema = {"type": "string", "pattern": "^[0-9]{1,9}-[0-9]{1,18}$", "description": "Partition and offset."}
CURSOR: Schema = {**TEXT_OR_NULL, "description": "For the next request, which repeats all else; null: nothing is left."}
_DECISION = with_optional(
    object_of({"by": TEXT, "at": TIME, "operation": TEXT}),
    {
        "to": {**TEXT, "description": "`pipeline`, or `pipeline:` or `channel:` and a name."},
        "edited": FLAG,
        "reason": TEXT,
    },
)
_SUMMARY: dict[str, Schema] = {
    "id": ID,
    "time": TIME,
    "status": {"enum": [status.value for status in Status]},
    "stage": {**TEXT, "description": "`pipeline`, or what refused the input before."},
    "source": TEXT,
    "pipeline": {**TEXT, "description": "Name and version; empty where no pipeline refused it."},
    "error": TEXT,
    "attempts": COUNT,
    "event_id": {**TEXT, "description": "Without an event: the source and the position in it."},
    "origin": TEXT,
    "content": {"enum": [content.value for content in Content]},
    "bytes": COUNT,
}
_SUMMARY_OPTIONAL: dict[str, Schema] = {"replay_of": ID, "decision": _DECISION}
LETTER = with_optional(object_of(_SUMMARY), _SUMMARY_OPTIONAL)
WHOLE_LETTER = with_optional(
    object_of({**_SUMMARY, "key": TEXT_OR_NULL, "truncated": FLAG, "replayable": FLAG}),
    {
        **_SUMMARY_OPTIONAL,
        "read": {**TIME, "description": "When the source read it."},
        "not_replayable_because": TEXT,
        "json": {"description": "The value, if it is JSON."},
        "text": {**TEXT, "description": "The value, if it is other text."},
        "base64": {"type": "string", "contentEncoding": "base64", "description": "The value, if it is not text."},
        "template": {"type": "object", "description": "What an edited event begins with, where there is no event."},
    },
)
LETTERS = object_of({"letters": {"type": "array", "items": LETTER}, "cursor": CURSOR})

_GROUP = object_of(
    {
        "stage": TEXT,
        "source": TEXT,
        "pipeline": TEXT,
        "error": {**TEXT, "description": "Its beginning, with `*` for numbers, as the filter `error` takes it."},
        "count": COUNT,
        "oldest": TIME,
        "newest": TIME,
        "example": ID,
    }
)
COUNTS = object_of(
    {
        "total": COUNT,
        "groups": {"type": "array", "items": _GROUP},
        "ungrouped": {**COUNT, "description": "Letters of further groups, of which there are too many."},
        "cursor": CURSOR,
    }
)
