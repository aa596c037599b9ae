"""A batch of events on its way to subscribers: the bus's records, made into frames once for everybody."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.experience_api.wire.cursor import CursorCodec, CursorTrail, Vector
from services.experience_api.wire.frames import event_frame, event_payload
from shared.bus.protocol import Record
from shared.events.event import MalformedEvent

logger = logging.getLogger(__name__)

_BATCH_BYTES = 65_536
"""A batch is closed at this size, so that one write of it stays well below an outbox's bound."""

_NAMES_LIMIT = 10_000


@dataclass(slots=True)
class Batch:
    """Events in the order in which this replica read them: four columns, one row an event."""

    frames: list[bytes] = field(default_factory=list)
    channels: list[bytes] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    size: int = 0
    """Bytes of all frames."""


class FrameEncoder:
    """Turns records into frames. Each frame's cursor is what a subscriber has once it has read that frame."""

    def __init__(self, codec: CursorCodec, vector: Vector) -> None:
        self.malformed = 0
        """Records that no subscriber can be given."""
        self._trail = CursorTrail(codec, vector)
        self._names: dict[bytes, bytes] = {}

    def advance(self, positions: Mapping[int, int]) -> None:
        """Note offsets that were passed without a record."""
        for partition, offset in positions.items():
            self._trail.move(partition, offset)

    def batches(self, records: Sequence[Record]) -> Iterator[Batch]:
        """Make the batches of what was read at once. Finish one before asking for the next."""
        batch = Batch()
        for record in records:
            self._add(batch, record)
            if batch.size >= _BATCH_BYTES:
                yield batch
                batch = Batch()
        if batch.frames:
            yield batch

    def _add(self, batch: Batch, record: Record) -> None:
        partition, offset = record.partition, record.offset
        self._trail.move(partition, offset + 1)
        try:
            payload = event_payload(record.value)
        except MalformedEvent as exc:
            # It would break every subscriber's connection, and break it again after each resume.
            self.malformed += 1
            logger.error("%s/%d: record %d is passed over: %s", record.topic, partition, offset, exc)  # noqa: TRY400 -- the sentence says it all
            return
        frame = event_frame(payload, self._trail.text())
        batch.frames.append(frame)
        batch.channels.append(self._name(record.key or b""))
        batch.partitions.append(partition)
        batch.offsets.append(offset)
        batch.size += len(frame)

    def _name(self, channel: bytes) -> bytes:
        """Return the one object of a channel's name, so that history does not hold a copy with every event."""
        known = self._names.get(channel)
        if known is None:
            if len(self._names) >= _NAMES_LIMIT:
                self._names.clear()
            known = self._names[channel] = channel
        return known
