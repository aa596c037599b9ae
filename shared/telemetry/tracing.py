"""What the services report of batches and requests as spans. Imports nothing of OpenTelemetry.

There is one call a batch. While telemetry is off, `NO_TRACING` takes the calls.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from aiohttp import web

from shared.runtime.trace import Attributes, Span, in_span
from shared.telemetry.parents import Valued


class Poll:
    """How much a poll of a source found."""

    __slots__ = ("records", "rejects")

    def __init__(self) -> None:
        self.records = self.rejects = 0

    def found(self, records: int, rejects: int) -> None:
        """Take the counts, before the span ends."""
        self.records, self.rejects = records, rejects


class Tracing(Protocol):
    """Makes spans. No call waits, raises, or does anything for a trace that is not sampled."""

    @property
    def on(self) -> bool:
        """Whether spans are made at all."""

    def trace_requests(self, app: web.Application) -> None:
        """Make a span of each request to an application that does not run yet."""

    def poll(self, source: str) -> AbstractContextManager[Poll]:
        """Return the span of one poll, the parent of the events that are built meanwhile.

        One that finds nothing has no span.
        """

    def following(self, traceparents: Iterable[str | None], attributes: Attributes) -> AbstractContextManager[None]:
        """Return the context of calls to other systems that events lead to; `attributes` are those of the calls.

        `traceparents` are those of the events, None for an event without one.
        """

    def sent(self, topic: str, records: Iterable[Valued], seconds: float) -> None:
        """Report that the bus has committed records, `seconds` after they were submitted."""

    def parents(self, records: Iterable[Valued]) -> Counter[bytes]:
        """Return the sampled spans that events belong to, each with the number of its events."""

    def processed(self, topic: str, partition: int, group: str, parents: Counter[bytes], seconds: float) -> None:
        """Report that the results of records are committed, `seconds` after the first one was read."""

    def delivered(self, topic: str, records: Iterable[Valued], frames: int, seconds: float) -> None:
        """Report that records, read `seconds` ago, were written to sockets in so many frames."""


class NoTracing:
    """Makes no spans."""

    on = False

    def __init__(self) -> None:
        self._poll = nullcontext(Poll())

    def trace_requests(self, _app: web.Application) -> None:
        """Do nothing."""

    def poll(self, _source: str) -> AbstractContextManager[Poll]:
        """Do nothing."""
        return self._poll

    def following(self, traceparents: Iterable[str | None], _attributes: Attributes) -> AbstractContextManager[None]:
        """Make no spans. The first trace is the current one, so that requests can continue it."""
        found = (Span.parse(each) for each in traceparents)
        return in_first(span for span in found if span is not None)

    def sent(self, _topic: str, _records: Iterable[Valued], _seconds: float) -> None:
        """Do nothing."""

    def parents(self, _records: Iterable[Valued]) -> Counter[bytes]:
        """Return none."""
        return Counter()

    def processed(self, _topic: str, _partition: int, _group: str, _parents: Counter[bytes], _seconds: float) -> None:
        """Do nothing."""

    def delivered(self, _topic: str, _records: Iterable[Valued], _frames: int, _seconds: float) -> None:
        """Do nothing."""


def in_first(spans: Iterable[Span]) -> AbstractContextManager[None]:
    """Return the context that works on the first of some spans, or on none."""
    first = next(iter(spans), None)
    return nullcontext() if first is None else in_span(first)


NO_TRACING: Tracing = NoTracing()
