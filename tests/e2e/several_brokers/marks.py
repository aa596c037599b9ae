"""Compares watermarks with what had been written upstream."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tests.e2e.feeding import Upstream
from tests.e2e.subscribing import RecordingSubscriber


async def fresh(
    subscribers: Sequence[RecordingSubscriber], written: Mapping[str, Sequence[Upstream]], timeout: float
) -> None:
    """Wait until each subscriber has a watermark of each source behind all that was written.

    Raises:
        TimeoutError: one has none within `timeout` seconds.
    """
    for name, upstreams in written.items():
        last = max(upstream.times[-1][0] for upstream in upstreams if upstream.times)
        for subscriber in subscribers:
            await subscriber.marked(name, last, timeout)


def false_marks(subscribers: Sequence[RecordingSubscriber], written: Mapping[str, Sequence[Upstream]]) -> Iterator[str]:
    """Yield the watermarks before which not everything had come that could be read by then."""
    for subscriber in subscribers:
        if subscriber.marks:
            print(f"{subscriber.client_id}: watermarks {dict(Counter(mark.source for mark in subscriber.marks))}")
        for mark in subscriber.marks:
            expected = sum(upstream.by(mark.as_of) for upstream in written.get(mark.source, ()))
            if mark.events < expected:
                place = f"watermark of {mark.source} as of {mark.as_of}"
                yield f"{subscriber.client_id}: {place}: {mark.events} events before it, expected {expected}"
