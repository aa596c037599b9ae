"""Encodes the bus's records into batches of frames, once for all subscribers."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.experience_api.wire.cursor import CursorCodec, IncrementalCursor, Vector
from services.experience_api.wire.frames import event_frame, event_payload
from shared.bus.protocol import Record
from shared.events.event import MalformedEvent

logger = logging.getLogger(__name__)

_BATCH_BYTES = 65_536
"""A batch is closed at this size, so that one write of it stays well below the limit of an outbox."""

_NAMES_LIMIT = 10_000


@dataclass(slots=True)
class Batch:
    """Events in the order in which this replica read them: four columns, one row per event."""

    frames: list[bytes] = field(default_factory=list)
    channels: list[bytes] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    size: int = 0
    """Bytes of all frames."""


class FrameEncoder:
    """Encodes records into frames. The cursor of each frame resumes after that frame."""

    def __init__(self, codec: CursorCodec, vector: Vector) -> None:
        self.malformed = 0
        """Records skipped because they are not valid events."""
        self._cursor = IncrementalCursor(codec, vector)
        self._names: dict[bytes, bytes] = {}

    def advance(self, positions: Mapping[int, int]) -> None:
        """Advance the cursor over offsets without a record."""
        for partition, offset in positions.items():
            self._cursor.advance(partition, offset)

    def batches(self, records: Sequence[Record]) -> Iterator[Batch]:
        """Yield the batches of one read. Deliver each before taking the next."""
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
        self._cursor.advance(partition, offset + 1)
        try:
            payload = event_payload(record.value)
        except MalformedEvent as exc:
            # It would break the connection of every subscriber, and again after each resume.
            self.malformed += 1
            where = {"topic": record.topic, "partition": partition, "offset": offset}
            logger.error("skipping malformed record", extra={**where, "error": str(exc)})  # noqa: TRY400 -- the error text is enough
            return
        frame = event_frame(payload, self._cursor.encoded())
        batch.frames.append(frame)
        batch.channels.append(self._name(record.key or b""))
        batch.partitions.append(partition)
        batch.offsets.append(offset)
        batch.size += len(frame)

    def _name(self, channel: bytes) -> bytes:
        """Return one shared object per channel name, so that the history does not hold a copy with every event."""
        name = self._names.get(channel)
        if name is None:
            if len(self._names) >= _NAMES_LIMIT:
                self._names.clear()
            name = self._names[channel] = channel
        return name
