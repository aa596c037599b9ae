"""What every bus promises. No service knows which one it has; one contract suite holds all of them to this.

A topic has partitions; a partition has one order. A transaction becomes visible as a whole or not at all, and readers
see nothing of it before. Each sentence below that promises something is a test in `tests/contracts/bus/`.
"""

import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import TooLarge

Headers = Sequence[tuple[str, bytes]]

IN_FLIGHT = 2
"""Transactions of one writer that may be under way at once: one fills while the other commits."""

RECORD_LIMIT = 4 * 1024 * 1024
"""Bytes of the largest record, as `size_of` counts them."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class TopicOptions(BaseModel):
    """How a topic is made, or what it is checked against where it exists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")
    partitions: int = Field(default=4, ge=1, le=10_000)
    """Cannot be changed later without changing which key lies where, and so every order."""
    replicas: int = Field(default=1, ge=1)
    """Copies of each partition; Kafka only."""
    retention_hours: float | None = Field(default=168.0, gt=0)
    """How long a record is kept at least; none keeps it for ever."""
    compact: bool = False
    """Keep the latest record of each key for ever, and nothing else for sure."""


class Record(Protocol):
    """What the bus stores, as it is read back."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int:
        """Where it lies: grows within a partition, with gaps where transactions end."""
        ...

    @property
    def timestamp(self) -> int:
        """When it was written, in milliseconds since 1970."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Outgoing(NamedTuple):
    """A record on its way to the bus."""

    key: bytes
    value: bytes | None
    headers: Headers = ()


def size_of(record: Outgoing) -> int:
    """Return the bytes of a record: key, value and headers."""
    size = len(record.key) + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value)
    return size


def check_size(topic: str, record: Outgoing) -> int:
    """Return the size of a record; refuse what no bus takes.

    Raises:
        TooLarge: names both sizes.
    """
    size = size_of(record)
    if size > RECORD_LIMIT:
        raise TooLarge(f"{topic}: a record of {size} bytes, the limit is {RECORD_LIMIT}")
    return size


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition a key lies in: CRC-32 modulo their number, as librdkafka's `consistent` partitioner does.

    Murmur2, the Java client's choice, costs some 10 µs a key in Python; this costs a tenth of one.
    """
    return zlib.crc32(key) % partitions


@dataclass(slots=True)
class Transaction:
    """What one commit makes visible: records, and the input offsets that they were made from."""

    records: dict[str, list[Outgoing]] = field(default_factory=dict)
    """By topic, in order."""
    group: str | None = None
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    """The next offset that `group` is to read, by partition."""

    def append(self, topic: str, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        """Add one record. Records of one key keep the order in which they were added."""
        batch = self.records.get(topic)
        if batch is None:
            batch = self.records[topic] = []
        batch.append(Outgoing(key, value, headers))

    def settle(self, group: str, position: TopicPartition, offset: int) -> None:
        """Note that `group` has done with everything below `offset`; one group a transaction."""
        assert self.group in {None, group}, "one group a transaction"
        self.group = group
        self.offsets[position] = offset

    @property
    def empty(self) -> bool:
        """Whether a commit would change nothing."""
        return not self.offsets and not any(self.records.values())


class Writer(Protocol):
    """The one owner of a name, and its way to write.

    Opening a writer fences every older one of the same name: what the older one had under way is either visible by
    then or never will be, so that a checkpoint read after opening is the last word.
    """

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Hand over a transaction; the awaitable that is returned is done once it is committed.

        By then no crash can undo it, and readers see it at once or within moments.

        Waits while `IN_FLIGHT` transactions are under way. They are committed in the order they were submitted, so
        that a partition never shows a later one before an earlier, and none is after one before it has failed. After
        any error, this writer is finished: close it, open another, read the checkpoint, and go on from there.

        Raises (from here, or from what is returned):
            Fenced: a newer writer has this name.
            Unavailable: the bus does not answer; whether it became visible is not known before the next opening.
            TooLarge: a record is above `RECORD_LIMIT`, or a lower limit of the server; nothing of the transaction
                becomes visible.
        """
        ...

    async def commit(self, transaction: Transaction) -> None:
        """Submit, and wait until it is committed. Raises what `submit` does."""
        ...

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset `group` is to read next, as every older owner of this writer's name has left it.

        To be asked before the first `submit`. None where the group has settled nothing. Raises what `submit` does.
        """
        ...


class Appender(Protocol):
    """Many owners' way to write single records, outside any transaction of theirs."""

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Return once readers can see all of these, in this order within a key.

        Concurrent calls share round trips. A failed call may have written some of its records.

        Raises:
            Unavailable: the bus does not answer; trying again may write twice.
            TooLarge: a record is above `RECORD_LIMIT`; none of the call is written.
        """
        ...


class Reader(Protocol):
    """Reads partitions of one topic from given positions onwards, committed records only."""

    @property
    def topic(self) -> str: ...

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset after the last record read, by partition.

        Reading on, while nothing more comes, takes it to the end that `Bus.bounds` tells.
        """
        ...

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return what comes next: at least one record and about `limit` at most, offset order in each partition.

        Waits up to `wait` seconds (None: for ever) while there is nothing, then returns an empty sequence. What is
        not asked for is not fetched beyond a bounded buffer. A bus that goes away is waited for, in silence here
        and said by `Bus.problem`. A read that is cancelled takes nothing.

        Raises:
            PositionLost: retention took what comes next, or the topic ends before the position, so that it is not
                the topic the position was taken from; `seek` to go on.
        """
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read this partition from `offset` on next."""
        ...


Drive = Callable[[Reader], Awaitable[None]]
"""Work on one partition, for as long as it is ours; see `Bus.join`."""


class Bus(Protocol):
    """A connected bus; see `shared.bus.connect`. What is asked of a topic that does not exist raises `Unavailable`."""

    @property
    def problem(self) -> str | None:
        """What keeps the bus from working right now, for `/readyz`; None while it works."""
        ...

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Make the topics that are missing; check the others.

        Raises:
            SettingsError: a topic has other partitions or another clean-up policy than asked for.
            Unavailable: the bus does not answer.
        """
        ...

    async def epoch(self, topic: str) -> str:
        """Return what tells this topic from a later one of the same name: at most 32 characters of `[A-Za-z0-9_-]`."""
        ...

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset kept and the end, by partition.

        What is visible lies below the end; what becomes visible later lies at it or above.
        """
        ...

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the newest visible values of a compacted topic whose key is `name` or begins with `name` and `/`.

        What was committed before the call is among them. A record whose value is None deletes its key, which is then
        absent here.
        """
        ...

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset `group` is to read next; None where it has settled nothing.

        It may be an older one while servers are being replaced: an owner asks `Writer.committed`.
        """
        ...

    def writer(self, name: str) -> AbstractAsyncContextManager[Writer]:
        """Become the owner of `name` (see `Writer`). Leaving waits for nothing: what is under way may be dropped."""
        ...

    def appender(self) -> AbstractAsyncContextManager[Appender]:
        """Open a way to append; leaving sends what was accepted."""
        ...

    def reader(self, topic: str, positions: Mapping[int, int]) -> AbstractAsyncContextManager[Reader]:
        """Read the given partitions of a topic, each from its offset on, in no group."""
        ...

    def join(self, topic: str, group: str, member: str, drive: Drive) -> AbstractAsyncContextManager[None]:
        """Be a member of a group for as long as the context lasts.

        A group reads one topic, and each of its partitions is driven by one member. `drive` is started as a task of
        its own with a reader of one partition, positioned at the group's committed offset (or at the earliest one),
        whenever a partition becomes ours; and is cancelled and awaited when it stops being ours, before another
        member drives it, as far as this member still has a say: a member that was taken for dead is fenced by its
        writers' names.

        A drive that opens a writer must open it first, then seek to what `Writer.committed` returns. A drive that fails
        is logged and started again after a pause, as is one that ends. `member` is the same after a restart, so that it
        gets its partitions back at once; a member puts out an older one of the same name. Leaving gives the partitions
        away.
        """
        ...
