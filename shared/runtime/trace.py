"""The trace and the span that the current task works on: log lines carry their ids, and events belong to them."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, Self

# The form of https://www.w3.org/TR/trace-context/#traceparent-header; neither id is all zeros.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1

Attributes = Mapping[str, str | int]


class ClientSpan(Protocol):
    """The span of a call to another system, such as a request or a statement."""

    @property
    def traceparent(self) -> str:
        """The header that continues the trace in the other system."""
        ...

    def end(self, attributes: Attributes, error: str | None = None) -> None:
        """End it now; `error` is a kind of error, such as the name of its class, and never its text."""


class ClientSpans(Protocol):
    """Makes the spans of calls that belong to one span."""

    def begin(self, name: str, attributes: Attributes, ago: float = 0.0) -> ClientSpan | None:
        """Begin the span of a call that began `ago` seconds ago; None where it gets none."""


class Span:
    """A span that is in progress in this process."""

    __slots__ = ("calls", "ended", "sampled", "span_id", "trace_id")

    def __init__(self, trace_id: str, span_id: str, *, sampled: bool, calls: ClientSpans | None = None) -> None:
        self.trace_id = trace_id
        """32 hexadecimal digits."""
        self.span_id = span_id
        """16 hexadecimal digits."""
        self.sampled = sampled
        """Whether it is exported."""
        self.calls = calls
        """Makes spans of the calls to other systems; None while none are made."""
        self.ended = False
        """A task that was started inside the span may outlive it, and then works on no span."""

    @classmethod
    def parse(cls, traceparent: str | None) -> Self | None:
        """Return the span that a `traceparent` names; None where there is none, or a malformed one."""
        found = _TRACEPARENT.match(traceparent or "")
        if found is None:
            return None
        return cls(found[1], found[2], sampled=bool(int(found[3], 16) & _SAMPLED))

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


def client_spans() -> ClientSpans | None:
    """Return what makes spans of the calls of the current task; None where none are made."""
    span = current_span()
    return None if span is None else span.calls


def client_spans_of_context() -> ClientSpans | None:
    """Return the same also after the span has ended, for a call that is reported late."""
    span = _span.get()
    return None if span is None else span.calls


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
