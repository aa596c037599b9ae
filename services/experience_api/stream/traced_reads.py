"""Reports what the feed delivers to tracing."""

from collections.abc import Callable, Sequence

from services.experience_api.hub.hub import HubCounts
from shared.bus.protocol import Record
from shared.telemetry.tracing import Tracing


def traced_reads(
    tracing: Tracing, topic: str, counts: HubCounts, on_first: Callable[[Record], None]
) -> Callable[[Sequence[Record], float], None]:
    """Return what takes the records of a read that are delivered, and the seconds since they were read.

    `on_first` takes the first record of each read, which has waited longest.
    """
    before = 0

    def delivered(records: Sequence[Record], seconds: float) -> None:
        nonlocal before
        frames, before = counts.deliveries - before, counts.deliveries
        for record in records[:1]:
            on_first(record)
        tracing.delivered(topic, records, frames, seconds)

    return delivered
