"""Spans of batches, by OpenTelemetry's semantic conventions for messaging.

A span that follows an event is a child of the span that the event's `traceparent` names: so the poll of a source, the
commit on the bus, the pipelines and the delivery are one trace. A batch with events of several traces has a span in
each of them, and one of its own in a new trace; those are linked.

Source: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aiohttp import web
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from shared.runtime.clock import Clock
from shared.runtime.trace import Attributes, Span, in_span
from shared.telemetry.client_spans import Calls
from shared.telemetry.http_spans import trace_requests
from shared.telemetry.parents import Valued, sampled_parents
from shared.telemetry.tracing import Poll, in_first

_PARENTS = 128
"""Traces of one batch that get a span: OpenTelemetry's limit of the links of a span."""

_NEW_TRACE = Context()


class _Batch(NamedTuple):
    """What the spans of one batch share."""

    name: str
    kind: SpanKind
    attributes: Attributes
    start: int
    end: int


class SpanTracing:
    """Makes spans with a tracer of OpenTelemetry."""

    on = True

    def __init__(self, tracer: Tracer, system: str, clock: Clock) -> None:
        """`system` names the bus: `kafka` or `postgresql`."""
        self._tracer = tracer
        self._system = system
        self._clock = clock

    def trace_requests(self, app: web.Application) -> None:
        """Make a span of each request to an application."""
        trace_requests(app, self._tracer, self._clock)

    @contextmanager
    def poll(self, source: str) -> Iterator[Poll]:
        """Make the span of one poll; it is the creation context of the events, and so a producer's span."""
        poll = Poll()
        span = self._tracer.start_span(
            f"poll {source}",
            _NEW_TRACE,
            SpanKind.PRODUCER,
            attributes=self._messaging("poll", "create") | {"trelay.source": source},
            start_time=self._now(),
        )
        own = span.get_span_context()
        # Held: a poll that finds nothing is not exported, and its calls are not either.
        calls = Calls(self._tracer, set_span_in_context(span, _NEW_TRACE), self._clock, held=True)
        keep = False
        try:
            with in_span(span_of(own, calls if own.trace_flags.sampled else None)):
                yield poll
            if keep := bool(poll.records or poll.rejects):
                span.set_attribute("messaging.batch.message_count", poll.records)
                span.set_attribute("trelay.rejects", poll.rejects)
        except Exception as exc:
            span.set_attribute("error.type", type(exc).__qualname__)
            span.set_status(Status(StatusCode.ERROR))  # no text: that of an upstream may hold data
            keep = True
            raise
        finally:
            calls.close(keep=keep)
            if keep:
                span.end(self._now())

    @contextmanager
    def following(self, traceparents: Iterable[str | None], attributes: Attributes) -> Iterator[None]:
        """Make spans of the calls that events lead to: in the trace of the first one, linked to the others."""
        found = {str(span): span for each in traceparents if (span := Span.parse(each)) is not None}
        sampled = [span for span in found.values() if span.sampled][:_PARENTS]
        if not sampled:
            with in_first(found.values()):
                yield
            return
        first, *others = (_context_of(str(span).encode()) for span in sampled)
        parent = set_span_in_context(NonRecordingSpan(first), _NEW_TRACE)
        links = [Link(context) for context in others]
        calls = Calls(self._tracer, parent, self._clock, links=links, attributes=attributes)
        try:
            with in_span(span_of(first, calls)):
                yield
        finally:
            calls.close()

    def sent(self, topic: str, records: Iterable[Valued], seconds: float) -> None:
        """Make the spans of a commit."""
        parents = self.parents(records)
        self._make("send", "send", SpanKind.CLIENT, {"messaging.destination.name": topic}, parents, seconds)

    def parents(self, records: Iterable[Valued]) -> Counter[bytes]:
        """Return the sampled spans that events belong to."""
        return sampled_parents(records, _PARENTS)

    def processed(self, topic: str, partition: int, group: str, parents: Counter[bytes], seconds: float) -> None:
        """Make the spans of a batch that went through the pipelines."""
        attributes = {
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.consumer.group.name": group,
        }
        self._make("process", "process", SpanKind.CONSUMER, attributes, parents, seconds)

    def delivered(self, topic: str, records: Iterable[Valued], frames: int, seconds: float) -> None:
        """Make the spans of what was written to sockets."""
        attributes: Attributes = {"messaging.destination.name": topic, "trelay.frames": frames}
        self._make("deliver", "process", SpanKind.CONSUMER, attributes, self.parents(records), seconds)

    def _make(
        self, name: str, type_: str, kind: SpanKind, attributes: Attributes, parents: Counter[bytes], seconds: float
    ) -> None:
        """Make the spans of one batch, which ends now and began `seconds` ago."""
        if not parents:
            return
        end = self._now()
        attributes = {**self._messaging(name, type_), **attributes}
        named = f"{name} {attributes['messaging.destination.name']}"
        batch = _Batch(named, kind, attributes, end - int(seconds * 1e9), end)
        contexts = [(_context_of(parent), count) for parent, count in parents.items()]
        links = []
        if len(contexts) > 1:
            own = self._one(batch, _NEW_TRACE, parents.total(), [Link(context) for context, _ in contexts])
            links = [Link(own)]
        for context, count in contexts:
            self._one(batch, set_span_in_context(NonRecordingSpan(context), _NEW_TRACE), count, links)

    def _one(self, batch: _Batch, parent: Context, count: int, links: list[Link]) -> SpanContext:
        span = self._tracer.start_span(
            batch.name,
            parent,
            batch.kind,
            attributes={**batch.attributes, "messaging.batch.message_count": count},
            links=links,
            start_time=batch.start,
        )
        span.end(batch.end)
        return span.get_span_context()

    def _messaging(self, name: str, type_: str) -> dict[str, str | int]:
        return {
            "messaging.system": self._system,
            "messaging.operation.name": name,
            "messaging.operation.type": type_,
        }

    def _now(self) -> int:
        return int(self._clock.time() * 1e9)


def span_of(context: SpanContext, calls: Calls | None = None) -> Span:
    """Return the span that tasks and events refer to."""
    ids = format_trace_id(context.trace_id), format_span_id(context.span_id)
    return Span(*ids, sampled=context.trace_flags.sampled, calls=calls)


def _context_of(traceparent: bytes) -> SpanContext:
    return SpanContext(
        int(traceparent[3:35], 16),
        int(traceparent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
