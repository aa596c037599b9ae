"""Topics, partitions and records of the bus in memory."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.bus.partitioning import partition_of
from shared.bus.protocol import Headers, Outgoing, TopicOptions
from shared.errors import PositionLost, SettingsError


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class Partition:
    """Records in the order of their offsets."""

    topic: str
    number: int
    records: list[MemoryRecord] = field(default_factory=list)
    end: int = 0
    """The offset of the next record."""

    @property
    def earliest(self) -> int:
        """The earliest offset that is kept; the end if none is."""
        return self.records[0].offset if self.records else self.end

    def offset_at(self, timestamp: int) -> int:
        """Return the offset of the first record that is as late; the end if none is."""
        return next((record.offset for record in self.records if record.timestamp >= timestamp), self.end)

    def append(self, outgoing: Outgoing, timestamp: int) -> None:
        """Store a record at the end."""
        key, value, headers = outgoing
        self.records.append(MemoryRecord(self.topic, self.number, self.end, timestamp, key, value, tuple(headers)))
        self.end += 1

    def check(self, offset: int) -> None:
        """Check a position.

        Raises:
            PositionLost: it is before the earliest record or beyond the end.
        """
        if not self.earliest <= offset <= self.end:
            raise PositionLost(self.topic, self.number, offset, self.earliest)

    def since(self, offset: int, limit: int) -> list[MemoryRecord]:
        """Return the records from an offset on, at most `limit`."""
        start = len(self.records) - (self.end - offset)
        return self.records[start : start + limit]

    def delete_records(self, before: int) -> None:
        """Delete the records before an offset."""
        self.records = [record for record in self.records if record.offset >= before]


class Topic:
    """The partitions of one topic."""

    def __init__(self, options: TopicOptions) -> None:
        self.options = options
        self.epoch = uuid.uuid4().hex
        self.partitions = [Partition(options.name, number) for number in range(options.partitions)]

    def check(self, wanted: TopicOptions) -> None:
        """Compare the topic with the settings.

        Raises:
            SettingsError: it differs.
        """
        differences = [
            f"{what} is {getattr(self.options, what)}, the settings say {getattr(wanted, what)}"
            for what in ("partitions", "compact", "retention_hours")
            if getattr(self.options, what) != getattr(wanted, what)
        ]
        if differences:
            raise SettingsError(f"topic {wanted.name}: {'; '.join(differences)}")

    def append(self, outgoing: Outgoing, timestamp: int) -> None:
        """Store a record in the partition of its key."""
        self.partitions[partition_of(outgoing.key, len(self.partitions))].append(outgoing, timestamp)

    def __iter__(self) -> Iterator[MemoryRecord]:
        """Iterate over all records, partition by partition."""
        for partition in self.partitions:
            yield from partition.records
