"""The trace that the current task works on, so that its log lines carry the `trace_id`."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The form of https://www.w3.org/TR/trace-context/#traceparent-header as far as the trace id; not all zeros.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


def current_trace_id() -> str | None:
    """Return the id of the trace that the current task works on, None if there is none."""
    return _trace_id.get()


@contextmanager
def traced(traceparent: str | None) -> Iterator[None]:
    """Work on the trace of a `traceparent` header; a malformed one counts as absent, as the standard says."""
    found = _TRACEPARENT.match(traceparent or "")
    token = _trace_id.set(found[1] if found else None)
    try:
        yield
    finally:
        _trace_id.reset(token)
