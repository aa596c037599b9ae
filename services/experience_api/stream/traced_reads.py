"""Reports what the feed delivers to tracing."""

from collections.abc import Callable, Sequence

from services.experience_api.hub.hub import HubCounts
from shared.bus.protocol import Record
from shared.telemetry.tracing import Tracing


def traced_reads(tracing: Tracing, topic: str, counts: HubCounts) -> Callable[[Sequence[Record], float], None]:
    """Return what takes the records of a read that are delivered, and the seconds since they were read."""
    before = 0

    def delivered(records: Sequence[Record], seconds: float) -> None:
        nonlocal before
        frames, before = counts.deliveries - before, counts.deliveries
        tracing.delivered(topic, records, frames, seconds)

    return delivered
