"""Plans a transaction: its records as rows in partitions. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from shared.bus.partitioning import partition_of
from shared.bus.postgres.records import pack_headers
from shared.bus.protocol import RECORD_LIMIT, Outgoing, TopicPartition, check_size
from shared.errors import TooLarge

Row = tuple[bytes, bytes | None, bytes | None]
"""Key, value, packed headers."""

BATCH_BYTES = 1024 * 1024
"""Bytes of the records of one batch, unless a single record is larger. Readers bound their memory by it."""

SMALL = 64 * 1024
"""Bytes up to which a transaction is sent in one statement. Above, COPY saves more than its round trips cost."""

KEY_LIMIT = 2048
"""Bytes of the largest key in a compacted topic: an index holds it, whose entries must fit a third of a page."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic in the database."""

    name: str
    epoch: str
    compact: bool
    partitions: tuple[int, ...]
    """Ids in `bus_partitions`, by number."""


@dataclass(slots=True)
class Plan:
    """A transaction as rows. The lists of each group have the same length."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0
    """Bytes of all rows, and of the records in `latest`."""

    partitions: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Batches in the order of `rows`: the partition, the number of its rows, and their bytes."""

    latest: dict[tuple[int, bytes], Row] = field(default_factory=dict)
    """Of compacted topics: the last record of each key, by partition and key."""

    group: str | None = None
    offset_partitions: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    """Committed offsets of `group`."""

    @property
    def empty(self) -> bool:
        """Whether a commit would change nothing."""
        return not (self.rows or self.latest or self.offset_partitions)

    @property
    def changed_partitions(self) -> set[int]:
        """The partitions in which readers find new records."""
        return {*self.partitions, *(partition for partition, _ in self.latest)}

    def arguments(self) -> tuple[object, ...]:
        """Return the last arguments of `bus_commit` and `bus_write`: batches, compacted topics, and offsets."""
        latest = self.latest.values()
        return (
            self.partitions,
            self.records,
            self.sizes,
            [partition for partition, _ in self.latest],
            [key for key, _, _ in latest],
            [value for _, value, _ in latest],
            [headers for _, _, headers in latest],
            self.group,
            self.offset_partitions,
            self.offsets,
        )


def plan(
    records: Mapping[str, Sequence[Outgoing]],
    topics: Mapping[str, Topic],
    group: str | None = None,
    offsets: Iterable[tuple[int, int]] = (),
    placed: Mapping[TopicPartition, Sequence[Outgoing]] = MappingProxyType({}),
) -> Plan:
    """Plan a transaction; `offsets` are ids of partitions, each with the offset that `group` reads next.

    `placed` are records whose partition is chosen already; `topics` holds their topics, too.

    Raises:
        TooLarge: a record, or the key of one in a compacted topic.
    """
    planned = Plan(group=group)
    for partition, offset in offsets:
        planned.offset_partitions.append(partition)
        planned.offsets.append(offset)
    for name, outgoing in records.items():
        (_add_latest if topics[name].compact else _add_records)(planned, topics[name], outgoing)
    for (name, number), outgoing in placed.items():
        (_add_latest if topics[name].compact else _add_records)(planned, topics[name], outgoing, number)
    return planned


def _add_records(planned: Plan, topic: Topic, records: Sequence[Outgoing], place: int | None = None) -> None:
    """Add each record to the partition `place`, else to that of its key."""
    count = len(topic.partitions)
    rows: list[list[Row]] = [[] for _ in range(count)]
    sizes: list[list[int]] = [[] for _ in range(count)]
    for record in records:
        key, value, headers = record
        packed = pack_headers(headers)
        size = len(key) + (0 if value is None else len(value)) + (0 if packed is None else len(packed))
        if size > RECORD_LIMIT:
            check_size(topic.name, record)
        number = partition_of(key, count) if place is None else place
        rows[number].append((key, value, packed))
        sizes[number].append(size)
    for number, partition in enumerate(topic.partitions):
        if rows[number]:
            _add_batches(planned, partition, sizes[number])
            planned.rows += rows[number]


def _add_batches(planned: Plan, partition: int, sizes: Sequence[int]) -> None:
    """Divide the records of a partition into batches of a bounded size."""
    total = sum(sizes)
    planned.size += total
    if total <= BATCH_BYTES:
        _add_batch(planned, partition, len(sizes), total)
        return
    count = filled = 0
    for size in sizes:
        if count and filled + size > BATCH_BYTES:
            _add_batch(planned, partition, count, filled)
            count = filled = 0
        count += 1
        filled += size
    _add_batch(planned, partition, count, filled)


def _add_batch(planned: Plan, partition: int, count: int, size: int) -> None:
    planned.partitions.append(partition)
    planned.records.append(count)
    planned.sizes.append(size)


def _add_latest(planned: Plan, topic: Topic, records: Sequence[Outgoing], place: int | None = None) -> None:
    """Add the last record of each key, to the partition `place`, else to that of the key."""
    for record in records:
        key, value, headers = record
        size = check_size(topic.name, record)
        if len(key) > KEY_LIMIT:
            raise TooLarge(f"{topic.name}: a key of {len(key)} bytes, the limit in a compacted topic is {KEY_LIMIT}")
        partition = topic.partitions[partition_of(key, len(topic.partitions)) if place is None else place]
        # Remove the earlier record of the key, so that the last one also gets its place in the order.
        planned.latest.pop((partition, key), None)
        planned.latest[partition, key] = (key, value, pack_headers(headers))
        planned.size += size
