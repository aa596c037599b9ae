"""What every bus guarantees. No service knows which one it has; one contract suite tests all of them.

A topic has partitions; a partition has one order. A transaction becomes visible as a whole or not at all, and readers
see nothing of it before it commits. `tests/contracts/bus/` has a test for each guarantee below.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import TooLarge

Headers = Sequence[tuple[str, bytes]]

IN_FLIGHT = 2
"""Transactions of one writer that may be in flight at once: one fills while the other commits."""

RECORD_LIMIT = 4 * 1024 * 1024
"""Bytes of the largest record, counted as in `size_of`."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class TopicOptions(BaseModel):
    """How a topic is created, or what it is checked against if it exists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")
    partitions: int = Field(default=4, ge=1, le=10_000)
    """Cannot be changed later: keys would move to other partitions and lose their order."""
    replicas: int = Field(default=1, ge=1)
    """Copies of each partition; Kafka only."""
    retention_hours: float | None = Field(default=168.0, gt=0)
    """How long a record is kept at least; none: without limit."""
    compact: bool = False
    """Keep the latest record of each key without limit; older records may be deleted at any time."""


class Record(Protocol):
    """A record as it is read."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int:
        """Grows within a partition, with gaps where transactions end."""

    @property
    def timestamp(self) -> int:
        """When the record was written, in milliseconds since 1970."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Outgoing(NamedTuple):
    """A record to write."""

    key: bytes
    value: bytes | None
    headers: Headers = ()


def size_of(record: Outgoing) -> int:
    """Return the size of a record in bytes: key, value and headers."""
    size = len(record.key) + len(record.value or b"")
    for name, value in record.headers:
        size += len(name) + len(value)
    return size


def check_size(topic: str, record: Outgoing) -> int:
    """Return the size of a record in bytes.

    Raises:
        TooLarge: it is above `RECORD_LIMIT`.
    """
    size = size_of(record)
    if size > RECORD_LIMIT:
        raise TooLarge(f"{topic}: a record of {size} bytes, the limit is {RECORD_LIMIT}")
    return size


@dataclass(slots=True)
class Transaction:
    """What one commit makes visible: records, and offsets of the input that they were made from."""

    records: dict[str, list[Outgoing]] = field(default_factory=dict)
    """By topic, in order; each goes to the partition of its key."""
    group: str | None = None
    offsets: dict[TopicPartition, int] = field(default_factory=dict)
    """The offset that `group` reads next, by partition."""
    placed: dict[TopicPartition, list[Outgoing]] = field(default_factory=dict)
    """Further records, by the partition that they go to, whatever their keys are."""

    def append(self, topic: str, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        """Add a record. Records of one key keep the order in which they were added."""
        batch = self.records.get(topic)
        if batch is None:
            batch = self.records[topic] = []
        batch.append(Outgoing(key, value, headers))

    def commit_offset(self, group: str, position: TopicPartition, offset: int) -> None:
        """Commit that `group` has processed everything below `offset`; one group a transaction."""
        assert self.group in {None, group}, "one group a transaction"
        self.group = group
        self.offsets[position] = offset

    @property
    def empty(self) -> bool:
        """Whether a commit would change nothing."""
        return not (self.offsets or any(self.records.values()) or any(self.placed.values()))


class Writer(Protocol):
    """Writes transactions as the one owner of a name.

    Opening a writer fences every older writer of the same name. What the older one had in flight is visible by then, or
    never becomes visible, so a checkpoint that is read after opening is final.
    """

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        """Submit a transaction; the awaitable that is returned is done once it is committed.

        By then no crash can undo it, and readers see it at once or within milliseconds.

        Waits while `IN_FLIGHT` transactions are in flight. Transactions commit in the order of submission, so a
        partition never shows a later one before an earlier one, and none commits after an earlier one has failed. After
        any error the writer is unusable: close it, open another, read the checkpoint, and resume there.

        Raises (from here, or from what is returned):
            Fenced: a newer writer has this name.
            Unavailable: the bus does not answer; whether the transaction committed is known after the next opening.
            TooLarge: a record is above `RECORD_LIMIT`, or above a lower limit of the server; nothing of the transaction
                becomes visible.
        """
        ...

    async def commit(self, transaction: Transaction) -> None:
        """Submit a transaction and wait for its commit. Raises what `submit` does."""

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that `group` reads next, including all that older owners of this name have committed.

        Call it before the first `submit`. None if the group has committed nothing. Raises what `submit` does.
        """
        ...


class Appender(Protocol):
    """Writes records outside transactions, for any number of callers."""

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Return once readers can see all of the records, in this order within a key.

        Concurrent calls share round trips. A failed call may have written some of its records.

        Raises:
            Unavailable: the bus does not answer; a retry may write records twice.
            TooLarge: a record is above `RECORD_LIMIT`; no record of the call is written.
        """
        ...


class Reader(Protocol):
    """Reads committed records of some partitions of one topic, each from a given position on."""

    @property
    def topic(self) -> str: ...
    @property
    def positions(self) -> Mapping[int, int]:
        """The offset after the last record read, by partition.

        At the end of a partition, `read` moves it to the end that `Bus.bounds` returns.
        """
        ...

    async def read(self, limit: int = 1000, wait: float | None = None) -> Sequence[Record]:
        """Return the next records: at least one and about `limit` at most, each partition in the order of offsets.

        Waits up to `wait` seconds (None: without limit) for a record, then returns an empty sequence. No more than a
        bounded buffer is fetched ahead. While the bus is unavailable the call waits, and `Bus.problem` says why. A
        cancelled call consumes no record.

        Raises:
            PositionLost: retention has deleted the next record, or the topic ends before the position, so it is not
                the topic that the position belongs to; `seek` to another position to read on.
        """
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Read this partition from `offset` on."""


TakeRecords = Callable[[Sequence[Record]], None]
"""Takes records in their order; see `Bus.replay`."""

PartitionWorker = Callable[[Reader], Awaitable[None]]
"""Processes one partition for as long as it is assigned to this member; see `Bus.join`."""


class Bus(Protocol):
    """A connected bus; see `shared.bus.connect`. Any call for a topic that does not exist raises `Unavailable`."""

    @property
    def problem(self) -> str | None:
        """Why the bus does not work now, for `/readyz`; None while it works."""

    async def ensure_topics(self, topics: Iterable[TopicOptions]) -> None:
        """Create the topics that are missing; check the others.

        Raises:
            SettingsError: a topic has another number of partitions, or another cleanup policy, than `topics` say.
            Unavailable: the bus does not answer.
        """

    async def epoch(self, topic: str) -> str:
        """Return an id that no other topic of this name has had: at most 32 characters of `[A-Za-z0-9_-]`."""

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        """Return the earliest offset and the end, by partition.

        All visible records are below the end; records that become visible later are at the end or above.
        """

    async def ends(self, topic: str) -> Mapping[int, int]:
        """Return an offset above all that was committed before the call, by partition; readers reach it, maybe later.

        It can be above the end that `bounds` returns, while transactions are open.
        """

    async def offsets_at(self, topic: str, timestamp_ms: int) -> Mapping[int, int]:
        """Return the first offset of each partition from which on all records of this time or later are found.

        The time is in milliseconds since 1970, of `Record.timestamp`. The end of a partition where none is as late. Of
        a compacted topic, the earliest offsets.
        """

    async def latest(self, topic: str, name: bytes) -> Mapping[bytes, bytes]:
        """Return the latest values of a compacted topic, of the key `name` and all keys that begin with `name` and `/`.

        The result includes all that was committed before the call. A record whose value is None deletes its key.
        """

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        """Call `each` with the records of one partition from `offset` on (None: from the earliest one), in order.

        Includes all that was committed before the call, also while servers fail over, and takes bounded memory. Of a
        compacted topic, records may be missing that a later record of their key replaced. Returns an offset from which
        another call continues: the records before it are included.

        Raises:
            PositionLost: retention has deleted the record at `offset`, or the topic ends before it.
        """

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        """Return the offset that `group` reads next; None if it has committed nothing.

        The result can be stale while servers fail over. The owner of a partition calls `Writer.committed` instead.
        """

    def writer(self, name: str) -> AbstractAsyncContextManager[Writer]:
        """Become the owner of `name`; see `Writer`. Leaving the context may drop what is in flight."""

    def appender(self) -> AbstractAsyncContextManager[Appender]:
        """Open an appender. Leaving the context sends what it has accepted."""

    def reader(self, topic: str, positions: Mapping[int, int]) -> AbstractAsyncContextManager[Reader]:
        """Read partitions of a topic, each from its offset on, outside any group."""

    def join(self, topic: str, group: str, member: str, worker: PartitionWorker) -> AbstractAsyncContextManager[None]:
        """Be a member of a group for as long as the context lasts.

        A group reads one topic, and each partition is assigned to one member. When a partition is assigned to this
        member, `worker` starts in a task of its own, with a reader of that partition at the group's committed offset,
        or at the earliest one. When the partition is revoked, the task is cancelled and awaited before another member
        starts on it. A member that was evicted while it was paused cannot do that: it is fenced by the names of its
        writers.

        A worker that opens a writer must open it first, then seek to what `Writer.committed` returns. A worker that
        fails or returns is logged and restarted after a pause. Use the same `member` after a restart to get the same
        partitions back at once; the newer of two members of one name replaces the older one. Leaving the context
        releases the partitions.
        """
