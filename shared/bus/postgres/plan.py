"""What a transaction means in rows. Decides everything, asks nobody."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.bus.postgres.records import pack_headers
from shared.bus.protocol import RECORD_LIMIT, Outgoing, check_size, partition_of
from shared.errors import TooLarge

Row = tuple[bytes, bytes | None, bytes | None]
"""Key, value, packed headers."""

BATCH_BYTES = 1024 * 1024
"""How much one batch row stands for at most, unless a single record is larger. Readers bound their memory by it."""

SMALL = 64 * 1024
"""Bytes up to which a transaction goes in one round trip. Beyond, COPY saves more than the round trips it adds."""

KEY_LIMIT = 2048
"""Bytes of a key in a compacted topic: it is in an index, whose entries must fit a third of a page."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a writer has to know of a topic."""

    name: str
    epoch: str
    compact: bool
    partitions: tuple[int, ...]
    """Ids of the rows in `bus_partitions`, by number."""


@dataclass(slots=True)
class Plan:
    """A transaction, ready to be sent. The lists of a kind run in parallel."""

    rows: list[Row] = field(default_factory=list)
    size: int = 0
    """Bytes of all rows, and of what replaces the latest of compacted topics."""

    partitions: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    """Batches: partition, how many of `rows` belong to it, and their bytes; in the order of `rows`."""

    kept: dict[tuple[int, bytes], Row] = field(default_factory=dict)
    """Of compacted topics: the last record of each key, by partition and key."""

    group: str | None = None
    settled: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether publishing it would change nothing."""
        return not (self.rows or self.kept or self.settled)

    @property
    def touched(self) -> set[int]:
        """The partitions that readers find something new in."""
        return {*self.partitions, *(partition for partition, _ in self.kept)}

    def publication(self) -> tuple[object, ...]:
        """Return what `bus_commit` and `bus_write` take about batches, compacted topics and offsets, in this order."""
        kept = self.kept.values()
        return (
            self.partitions,
            self.records,
            self.sizes,
            [partition for partition, _ in self.kept],
            [key for key, _, _ in kept],
            [value for _, value, _ in kept],
            [headers for _, _, headers in kept],
            self.group,
            self.settled,
            self.offsets,
        )


def plan(
    records: Mapping[str, Sequence[Outgoing]],
    topics: Mapping[str, Topic],
    group: str | None = None,
    settled: Iterable[tuple[int, int]] = (),
) -> Plan:
    """Plan a transaction; `settled` are ids of partitions, each with the next offset of `group`.

    Raises:
        TooLarge: a record, or the key of one in a compacted topic; the text names both sizes.
    """
    made = Plan(group=group)
    for partition, offset in settled:
        made.settled.append(partition)
        made.offsets.append(offset)
    for name, batch in records.items():
        (_keep if topics[name].compact else _deal)(made, topics[name], batch)
    return made


def _deal(made: Plan, topic: Topic, batch: Sequence[Outgoing]) -> None:
    """Put each record where its key lies."""
    count = len(topic.partitions)
    dealt: list[list[Row]] = [[] for _ in range(count)]
    sizes: list[list[int]] = [[] for _ in range(count)]
    for record in batch:
        key, value, headers = record
        packed = pack_headers(headers)
        size = len(key) + (0 if value is None else len(value)) + (0 if packed is None else len(packed))
        if size > RECORD_LIMIT:
            check_size(topic.name, record)
        number = partition_of(key, count)
        dealt[number].append((key, value, packed))
        sizes[number].append(size)
    for number, partition in enumerate(topic.partitions):
        if dealt[number]:
            _cut(made, partition, sizes[number])
            made.rows += dealt[number]


def _cut(made: Plan, partition: int, sizes: Sequence[int]) -> None:
    """Make batches of records that lie in a row, each of a bounded size."""
    total = sum(sizes)
    made.size += total
    if total <= BATCH_BYTES:
        _add_batch(made, partition, len(sizes), total)
        return
    count = filled = 0
    for size in sizes:
        if count and filled + size > BATCH_BYTES:
            _add_batch(made, partition, count, filled)
            count = filled = 0
        count += 1
        filled += size
    _add_batch(made, partition, count, filled)


def _add_batch(made: Plan, partition: int, count: int, size: int) -> None:
    made.partitions.append(partition)
    made.records.append(count)
    made.sizes.append(size)


def _keep(made: Plan, topic: Topic, batch: Sequence[Outgoing]) -> None:
    """Of each key, keep the last."""
    for record in batch:
        key, value, headers = record
        size = check_size(topic.name, record)
        if len(key) > KEY_LIMIT:
            raise TooLarge(f"{topic.name}: a key of {len(key)} bytes, the limit in a compacted topic is {KEY_LIMIT}")
        partition = topic.partitions[partition_of(key, len(topic.partitions))]
        # Last in the order too: it is the last of the key that counts, and it comes where it came.
        made.kept.pop((partition, key), None)
        made.kept[partition, key] = (key, value, pack_headers(headers))
        made.size += size
