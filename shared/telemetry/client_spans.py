"""Spans of the calls that a piece of work makes to other systems: statements of databases and HTTP requests.

Each is a child of the span of that work, and sampled with it.
"""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, format_span_id, format_trace_id

from shared.runtime.clock import Clock
from shared.runtime.trace import Attributes

_CALLS = 128
"""Calls of one piece of work that get a span: a poll may read thousands of pages."""


class Calls:
    """Makes the spans of the calls of one piece of work, whose own span is sampled."""

    def __init__(
        self,
        tracer: Tracer,
        parent: Context,
        clock: Clock,
        *,
        links: Sequence[Link] = (),
        attributes: Attributes | None = None,
        held: bool = False,
    ) -> None:
        """With `held`, spans wait for `close`, which says whether they are exported. Each span has the `attributes`."""
        self._tracer = tracer
        self._parent = parent
        self._clock = clock
        self._links = links
        self._attributes = attributes or {}
        self._left = _CALLS
        self._held: list[tuple[Span, int]] | None = [] if held else None
        self._dropped = False
        self._closed_at: float | None = None

    def begin(self, name: str, attributes: Attributes, ago: float = 0.0) -> "CallSpan | None":
        """Begin the span of a call that began `ago` seconds ago; None where it gets none."""
        began = self._clock.time() - ago
        late = self._closed_at is not None and began > self._closed_at
        if self._left == 0 or self._dropped or late:
            return None
        self._left -= 1
        span = self._tracer.start_span(
            name,
            self._parent,
            SpanKind.CLIENT,
            attributes={**attributes, **self._attributes},
            links=self._links,
            start_time=int(began * 1e9),
        )
        return CallSpan(span, self)

    def end(self, span: Span) -> None:
        """End a span now."""
        now = int(self._clock.time() * 1e9)
        if self._held is not None:
            self._held.append((span, now))
        elif not self._dropped:
            span.end(now)

    def close(self, *, keep: bool = True) -> None:
        """Begin no further spans. Those that are held are exported, or dropped unless `keep`."""
        self._closed_at = self._clock.time()
        held, self._held = self._held or [], None
        self._dropped = not keep
        if keep:
            for span, at in held:
                span.end(at)


class CallSpan:
    """The span of one call."""

    def __init__(self, span: Span, calls: Calls) -> None:
        self._span = span
        self._calls = calls

    @property
    def traceparent(self) -> str:
        """The header that continues the trace in the other system."""
        context = self._span.get_span_context()
        return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-01"

    def end(self, attributes: Attributes, error: str | None = None) -> None:
        """End it now; `error` is a kind of error."""
        for name, value in attributes.items():
            self._span.set_attribute(name, value)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))  # no text: that of another system may hold data
        self._calls.end(self._span)
