"""The trace and the span that the current task works on: log lines carry their ids, and events belong to them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The form of https://www.w3.org/TR/trace-context/#traceparent-header as far as the trace id; not all zeros.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class Span:
    """A span that is in progress in this process."""

    __slots__ = ("ended", "sampled", "span_id", "trace_id")

    def __init__(self, trace_id: str, span_id: str, *, sampled: bool) -> None:
        self.trace_id = trace_id
        """32 hexadecimal digits."""
        self.span_id = span_id
        """16 hexadecimal digits."""
        self.sampled = sampled
        """Whether it is exported."""
        self.ended = False
        """A task that was started inside the span may outlive it, and then works on no span."""

    def __str__(self) -> str:
        """Return the `traceparent` that names this span as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)
_span: ContextVar[Span | None] = ContextVar("span", default=None)


def current_trace_id() -> str | None:
    """Return the id of the trace that the current task works on, None if there is none."""
    span = current_span()
    return _trace_id.get() if span is None else span.trace_id


def current_span() -> Span | None:
    """Return the span that the current task works on; None if there is none, as always while telemetry is off."""
    span = _span.get()
    return None if span is None or span.ended else span


@contextmanager
def traced(traceparent: str | None) -> Iterator[None]:
    """Work on the trace of a `traceparent` header; a malformed one counts as absent, as the standard says.

    A span that is in progress continues that trace already, and stays the current one.
    """
    found = _TRACEPARENT.match(traceparent or "")
    token = _trace_id.set(found[1] if found else None)
    try:
        yield
    finally:
        _trace_id.reset(token)


@contextmanager
def in_span(span: Span) -> Iterator[None]:
    """Work on a span; it has ended when the context ends."""
    token = _span.set(span)
    try:
        yield
    finally:
        span.ended = True
        _span.reset(token)
