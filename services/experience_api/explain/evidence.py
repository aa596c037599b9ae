"""What is known of an event and of a client, once the topics were read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.experience_api.explain.search import Found, Search
from services.experience_api.hub.audience import interest_in
from services.experience_api.registry.clients import Client, Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.wire.cursor import CursorCodec


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the hops are judged by."""

    search: Search
    """All that was found; it is done."""
    client_id: str
    codec: CursorCodec
    """Of the publish topic."""
    retention_ms: int
    """For how long topics keep events."""
    now: int
    """When the search was done, in milliseconds since 1970."""
    committed: int | None = None
    """The offset that the process layer reads next, in the partition of the event; None if it has committed none."""
    client: Client | None = None
    consumer: Consumer | None = None
    """None if it has not registered."""
    details: Mapping[UUID, ConnectionDetails] = field(default_factory=dict)
    """Of its connections; what a replica did not tell in time is missing."""
    frames: Mapping[tuple[int, int], bytes] = field(default_factory=dict)
    """The frames of published records, by partition and offset, as far as they are kept."""

    def frame(self, found: Found) -> bytes | None:
        """Return the frame of a published record."""
        return self.frames.get((found.partition, found.offset))

    def wanted(self, found: Found, channels: Sequence[str], filters: Mapping[str, str]) -> bool | None:
        """Return whether a subscription takes a published record; None if its filters cannot be applied any more."""
        interest, channel = interest_in(channels, filters), found.key.encode()
        if not interest.matches(channel):
            return False
        frame = self.frame(found)
        if frame is None:
            return None if filters else True
        return interest.wants(channel, frame)
