"""Decodes what a fetch returns into records: committed ones only, in the order of offsets.

A broker returns the log as it is stored: with the batches of aborted transactions, with the markers that end
transactions, and with whole batches even if only the last records of them were requested. See KIP-98, *Read committed*.
Aiokafka's C extension parses the batches, each only when its records are taken, so what waits stays compressed.
"""

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

from shared.bus.kafka.wire.records import intact
from shared.bus.protocol import Headers
from shared.errors import Unavailable

_make = tuple.__new__

_LENGTH_AND_EPOCH = struct.Struct(">ii")
_LENGTH_AT = 8
_BEFORE_LENGTH_ENDS = 12
"""Where the length of a batch and the leader epoch that wrote it are, and the bytes that the length does not count."""


class KafkaRecord(NamedTuple):
    """A `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class _LenientText(bytearray):
    r"""Bytes whose slices, decoded, keep what is not UTF-8 as `\xff`."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _LenientText(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "") -> str:  # noqa: ARG002 -- as the method that it overrides
        return super().decode(encoding, "backslashreplace")


def _lenient(batch: bytes) -> Any:
    """Return a batch whose headers have names that are not UTF-8.

    Neither brokers nor all clients check them, and aiokafka raises an error, so that one record would stop its
    partition for ever. This parser is the one in Python, which takes ten times as long.
    """
    found: Any = _DefaultRecordBatchPy(batch)
    found._maybe_uncompress()  # noqa: SLF001 -- aiokafka decodes names in the middle of its parser
    found._buffer = _LenientText(found._buffer)  # noqa: SLF001
    return found


class CompletedFetch:
    """The content of one partition in one response."""

    def __init__(
        self, topic: str, partition: int, position: int, content: bytes, aborted: Iterable[tuple[int, int]] | None
    ) -> None:
        """`position` is the requested offset; `aborted` are producers and the first offsets of their transactions."""
        self.position = position
        """The offset after what was taken, and after what is not visible."""
        self.epoch: int | None = None
        """The leader epoch of the batch that was parsed last; None before the first."""
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
        """Return the next records, at most `limit`; none if nothing of the content is visible.

        Raises:
            Unavailable: a batch is corrupt; fetch it again from `position` on.
        """
        taken: list[KafkaRecord] = []
        while len(taken) < limit and not self.exhausted:
            if not self._ready:
                self._parse(self._batches.next_batch())
            room = limit - len(taken)
            taken += self._ready[:room]
            del self._ready[:room]
            self.position = self._ready[0].offset if self._ready else self._after_ready
        return taken

    def _parse(self, batch: Any) -> None:
        begin = self._next_batch_at
        length, epoch = _LENGTH_AND_EPOCH.unpack_from(self._content, begin + _LENGTH_AT)
        end = begin + _BEFORE_LENGTH_ENDS + length
        if not intact(self._content, begin, end):
            raise Unavailable(f"{self._topic}/{self._partition}: the batch at offset {batch.base_offset} is corrupt")
        self._next_batch_at, self.epoch, self._after_ready = end, epoch, batch.next_offset
        self._note_aborted(batch.base_offset)
        if batch.is_control_batch:
            self._end_transaction(batch)
        elif not (batch.is_transactional and batch.producer_id in self._aborting):
            try:
                self._ready = self._records(batch)
            except UnicodeDecodeError:
                self._ready = self._records(_lenient(self._content[begin:end]))
            if batch.base_offset < self.position:
                self._ready = [record for record in self._ready if record.offset >= self.position]

    def _records(self, batch: Iterable[Any]) -> list[KafkaRecord]:
        topic, partition = self._topic, self._partition
        # Not by the class itself: this is the innermost loop of all reading, and calling it costs twice as much.
        return [
            _make(KafkaRecord, (topic, partition, each.offset, each.timestamp, each.key, each.value, each.headers))
            for each in batch
        ]

    def _note_aborted(self, offset: int) -> None:
        while self._aborted and self._aborted[-1][1] <= offset:
            self._aborting.add(self._aborted.pop()[0])

    def _end_transaction(self, batch: Any) -> None:
        if ControlRecord.parse(next(iter(batch)).key) == ABORT_MARKER:
            self._aborting.discard(batch.producer_id)
