"""What the endpoints that several services have do, take and answer."""

from shared.http.command_bodies import REASON_LIMIT
from shared.http.openapi.document import JSON, Operation, Problem, Reason, Schema, object_of

OPERATOR: dict[str, Schema] = {
    "operator": {"type": "http", "scheme": "bearer", "description": "The token of an operator."}
}
"""The security scheme of the endpoints for operators."""

UNAUTHORIZED = Reason(401, "unauthorized", "The token of no operator was sent", (("WWW-Authenticate", ""),))
FORBIDDEN = Reason(403, "forbidden", "No operators are configured, and the request is not from this machine")
MALFORMED = Reason(400, "malformed", "The request cannot be understood")
TOO_LARGE = Reason(413, "too-large", "The request is too large")
UNAVAILABLE = Reason(503, "unavailable", "A dependency of this service does not answer: wait")

READ: tuple[Problem, ...] = (UNAUTHORIZED, UNAVAILABLE)
"""Why a request is refused that only reads. Without operators, everyone who reaches the listener may read."""
OPERATED: tuple[Problem, ...] = (UNAUTHORIZED, FORBIDDEN, UNAVAILABLE)
"""Why a request is refused that only operators may send."""
COMMANDED: tuple[Problem, ...] = (*OPERATED, MALFORMED, TOO_LARGE)
"""Why a request of an operator with a body is refused."""

NO_NUL = r"^[^\u0000]*$"
"""The pattern of text that PostgreSQL can store."""
REASON: Schema = {"type": "string", "maxLength": REASON_LIMIT, "pattern": NO_NUL}
"""Why an operator sends a command, in the member `reason` of its body."""

_REASONS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
READINESS = object_of(
    {
        "ready": {"type": "boolean"},
        "draining": {"type": "boolean"},
        "missing": {**_REASONS, "description": "The parts that are not connected, each with its reason."},
        "notes": {**_REASONS, "description": "What else is wrong, by part."},
    }
)

DOCUMENT = Operation(
    "The OpenAPI document of this service", responses={200: ("The document", {JSON: {"type": "object"}})}, security=()
)

HEALTH: dict[tuple[str, str], Operation] = {
    ("GET", "/healthz"): Operation(
        "Whether the process lives",
        responses={200: ("It does", {JSON: object_of({"alive": {"const": True}})})},
        security=(),
    ),
    ("GET", "/readyz"): Operation(
        "Whether requests can be served",
        responses={200: ("Ready", {JSON: READINESS}), 503: ("Not ready", {JSON: READINESS})},
        security=(),
    ),
    ("GET", "/metrics"): Operation(
        "Metrics for Prometheus", responses={200: ("The metrics", {"text/plain": {"type": "string"}})}, security=()
    ),
}
"""Of every service. With `listen.health` they are on a listener of their own."""
