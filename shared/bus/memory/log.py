"""What the bus in memory keeps: topics, partitions, records."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.bus.protocol import Headers, Outgoing, TopicOptions, partition_of
from shared.errors import PositionLost, SettingsError


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A `Record` as this bus keeps it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(slots=True)
class Partition:
    """Records in offset order; those before the first one have expired."""

    topic: str
    number: int
    records: list[StoredRecord] = field(default_factory=list)
    end: int = 0
    """The offset of the next record."""

    @property
    def earliest(self) -> int:
        """The first offset that is kept; the end where nothing is."""
        return self.records[0].offset if self.records else self.end

    def append(self, outgoing: Outgoing, timestamp: int) -> None:
        """Store one record at the end."""
        key, value, headers = outgoing
        self.records.append(StoredRecord(self.topic, self.number, self.end, timestamp, key, value, tuple(headers)))
        self.end += 1

    def check(self, offset: int) -> None:
        """Find out whether reading can go on at an offset.

        Raises:
            PositionLost: it lies before the earliest record or beyond the end.
        """
        if not self.earliest <= offset <= self.end:
            raise PositionLost(self.topic, self.number, offset, self.earliest)

    def since(self, offset: int, limit: int) -> list[StoredRecord]:
        """Return the records at an offset and after it, at most `limit`."""
        start = len(self.records) - (self.end - offset)
        return self.records[start : start + limit]

    def forget(self, below: int) -> None:
        """Drop the records below an offset."""
        self.records = [record for record in self.records if record.offset >= below]


class Topic:
    """Partitions under one name."""

    def __init__(self, options: TopicOptions) -> None:
        self.options = options
        self.epoch = uuid.uuid4().hex
        self.partitions = [Partition(options.name, number) for number in range(options.partitions)]

    def check(self, wanted: TopicOptions) -> None:
        """Compare with what the settings ask for.

        Raises:
            SettingsError: names each difference.
        """
        differences = [
            f"{what} is {getattr(self.options, what)}, the settings say {getattr(wanted, what)}"
            for what in ("partitions", "compact", "retention_hours")
            if getattr(self.options, what) != getattr(wanted, what)
        ]
        if differences:
            raise SettingsError(f"topic {wanted.name}: {'; '.join(differences)}")

    def append(self, outgoing: Outgoing, timestamp: int) -> None:
        """Store one record where its key lies."""
        self.partitions[partition_of(outgoing.key, len(self.partitions))].append(outgoing, timestamp)

    def __iter__(self) -> Iterator[StoredRecord]:
        """Go through all records, each partition in its order."""
        for partition in self.partitions:
            yield from partition.records
