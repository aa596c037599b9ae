"""What a fetch brings, to records: committed ones only, in offset order.

A broker hands out the log as it lies: batches of transactions that were aborted, markers that end transactions, and
whole batches of which only the end was asked for. See KIP-98, *Read committed*. Batches are taken apart by aiokafka's
C extension, and only when somebody wants their records, so that what waits stays compressed.
"""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from shared.bus.protocol import Headers
from shared.errors import Unavailable

_make = tuple.__new__

_LENGTH_AND_EPOCH = struct.Struct(">ii")
_LENGTH_AT = 8
_BEFORE_LENGTH_ENDS = 12
"""Where the length of a batch and the epoch of the leader that wrote it lie, and what the length does not count."""


class KafkaRecord(NamedTuple):
    """A `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Chunk:
    """The content of one partition that one fetch brought."""

    def __init__(
        self, topic: str, partition: int, position: int, content: bytes, aborted: Iterable[tuple[int, int]] | None
    ) -> None:
        """`position` is the offset that was asked for; `aborted` are producers and where their transactions began."""
        self.position = position
        """The offset behind what was taken, and behind what is not to be shown."""
        self.epoch: int | None = None
        """The leader epoch of the batch that was opened last; None before the first."""
        self._content = content
        self._next_batch_at = 0
        self._topic = topic
        self._partition = partition
        self._batches = MemoryRecords(content)
        self._aborted = sorted(aborted or (), key=lambda entry: entry[1], reverse=True)
        self._aborting: set[int] = set()
        self._ready: list[KafkaRecord] = []
        self._after_ready = position

    @property
    def exhausted(self) -> bool:
        """Whether everything was taken."""
        return not self._ready and not self._batches.has_next()

    def take(self, limit: int) -> list[KafkaRecord]:
        """Return what comes next, at most `limit`; none if nothing of it is to be shown.

        Raises:
            Unavailable: it was damaged on the way; to be fetched again from `position` on.
        """
        taken: list[KafkaRecord] = []
        while len(taken) < limit and not self.exhausted:
            if not self._ready:
                self._open(self._batches.next_batch())
            room = limit - len(taken)
            taken += self._ready[:room]
            del self._ready[:room]
            self.position = self._ready[0].offset if self._ready else self._after_ready
        return taken

    def _open(self, batch: Any) -> None:
        if not batch.validate_crc():
            raise Unavailable(f"{self._topic}/{self._partition}: the batch at {batch.base_offset} is damaged")
        self._after_ready = batch.next_offset
        length, self.epoch = _LENGTH_AND_EPOCH.unpack_from(self._content, self._next_batch_at + _LENGTH_AT)
        self._next_batch_at += _BEFORE_LENGTH_ENDS + length
        self._note_aborted(batch.base_offset)
        if batch.is_control_batch:
            self._end_transaction(batch)
        elif not (batch.is_transactional and batch.producer_id in self._aborting):
            topic, partition = self._topic, self._partition
            # Not by the class itself: this is the innermost loop of all reading, and calling it costs twice as much.
            self._ready = [
                _make(KafkaRecord, (topic, partition, each.offset, each.timestamp, each.key, each.value, each.headers))
                for each in batch
            ]
            if batch.base_offset < self.position:
                self._ready = [record for record in self._ready if record.offset >= self.position]

    def _note_aborted(self, offset: int) -> None:
        while self._aborted and self._aborted[-1][1] <= offset:
            self._aborting.add(self._aborted.pop()[0])

    def _end_transaction(self, batch: Any) -> None:
        if ControlRecord.parse(next(iter(batch)).key) == ABORT_MARKER:
            self._aborting.discard(batch.producer_id)
