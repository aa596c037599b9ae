"""What each endpoint of the system layer does, takes and answers."""

from services.system_api.api import schemas
from services.system_api.operations.windows import HOURS_LIMIT
from services.system_api.sources.http.webhook import refusals
from shared.http.openapi.document import JSON, Operation, Problem, Reason, Schema, body_of, object_of, query
from shared.http.openapi.endpoints import COMMANDED, DOCUMENT, HEALTH, MALFORMED, OPERATOR, READ, REASON

SECURITY = OPERATOR

_NOT_FOUND = Reason(404, "not-found", "There is no such source")
_PAUSED = Reason(409, "conflict", "The source is paused")
_DELIVERED = Reason(409, "conflict", "Events are delivered directly, so that nothing here has what was published")
_ON_SOURCE: tuple[Problem, ...] = (*COMMANDED, _NOT_FOUND)


def _reason(refusal: refusals.Refusal) -> Reason:
    headers = (("WWW-Authenticate", refusal.challenge),) if refusal.challenge else ()
    return Reason(refusal.status, refusal.code, refusal.detail[:1].upper() + refusal.detail[1:], headers)


_HOOK = tuple(_reason(each) for each in refusals.REFUSALS)
_OPERATOR = tuple(SECURITY)
_NO_MEMBERS = body_of({})
_ACCEPTED = {202: ("Accepted; the owner of the source carries it out", {JSON: schemas.SOURCE})}


def _read(summary: str, schema: Schema, *more: Problem, parameters: tuple[Schema, ...] = ()) -> Operation:
    return Operation(
        summary,
        parameters=parameters,
        responses={200: ("The answer", {JSON: schema})},
        problems=(*READ, *more),
        security=_OPERATOR,
    )


def _command(summary: str, description: str, body: Schema = _NO_MEMBERS, *more: Problem) -> Operation:
    return Operation(
        summary,
        description,
        body={JSON: body},
        body_required=bool(body.get("required")),
        responses=_ACCEPTED,
        problems=(*_ON_SOURCE, *more),
        security=_OPERATOR,
    )


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/sources"): _read("List sources", schemas.SOURCES),
    ("GET", "/sources/{name}"): _read("Show a source", schemas.SOURCE, _NOT_FOUND),
    ("GET", "/sources/{name}/position"): _read(
        "Show the whole saved position of a source", schemas.WHOLE_POSITION, _NOT_FOUND
    ),
    ("GET", "/sources/{name}/windows"): _read(
        "Show what a source has done by hour",
        schemas.WINDOWS,
        _NOT_FOUND,
        MALFORMED,
        parameters=(
            query(
                "hours",
                "Hours before now.",
                {"type": "integer", "minimum": 1, "maximum": HOURS_LIMIT, "default": 24},
            ),
        ),
    ),
    ("POST", "/sources/{name}/pause"): _command(
        "Pause a source",
        "It keeps its position, and continues there after `resume`, whatever restarts meanwhile.",
        body_of({"reason": REASON}),
    ),
    ("POST", "/sources/{name}/resume"): _command("Resume a source", "Nothing changes if it is not paused."),
    ("POST", "/sources/{name}/poll"): _command(
        "Poll a source now", "It does not wait for its schedule.", _NO_MEMBERS, _PAUSED
    ),
    ("POST", "/sources/{name}/rewind"): Operation(
        "Rewind a source",
        "The events after the place come again, with the ids that they had before. With `dry_run`, the answer says "
        "from where to where, and nothing changes.",
        body={JSON: body_of({"to": schemas.PLACE, "dry_run": {"type": "boolean"}}, ("to",))},
        responses={200: ("What the rewind would do", {JSON: schemas.PREVIEW}), **_ACCEPTED},
        problems=_ON_SOURCE,
        security=_OPERATOR,
    ),
    ("POST", "/sources/{name}/snapshot"): _command(
        "Publish everything again that the upstream has now",
        "Beside what changes, and with the ids that it had before.",
    ),
    ("POST", "/sources/{name}/reconcile"): Operation(
        "Compare the upstream with what is published",
        "Counts what changed last within a range of time. Which kinds of sources can count, and whether they need the "
        "range, is in their documentation.",
        body={JSON: body_of({"from": schemas.TIME, "to": {**schemas.TIME, "description": "Excluded."}})},
        body_required=False,
        responses={200: ("Both counts", {JSON: schemas.RECONCILED})},
        problems=(*_ON_SOURCE, _DELIVERED),
        security=_OPERATOR,
    ),
    ("POST", "/hooks/{source}"): Operation(
        "Deliver a webhook",
        "For senders. How they prove who they are is what `verify` of the source says: a signature in a header, or a "
        "token. The answer is sent once the delivery is stored.",
        body={"*/*": {"description": "What the sender sends."}},
        body_required=False,
        responses={
            200: (
                "Stored, or a repetition; or the answer to a challenge of the sender",
                {JSON: {"anyOf": [object_of({"status": {"enum": ["accepted", "repeated"]}}), {"type": "object"}]}},
            )
        },
        problems=_HOOK,
    ),
    **HEALTH,
    ("GET", "/openapi.json"): DOCUMENT,
}
