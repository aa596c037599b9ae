"""Watermarks: up to when a source has been read, and behind which offsets its events are, from layer to layer.

A watermark is a record of the topic of watermarks, apart from the events: a reader that has passed its offsets has read
every event that the source had at its time. The system layer writes one about the topic of the source's events; the
process layer turns one about the ingest topic into one about the publish topic, once all that is below it has been
processed.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec

from shared.bus.protocol import Outgoing, Record
from shared.errors import Malformed

logger = logging.getLogger(__name__)


class Watermark(msgspec.Struct, frozen=True):
    """Everything that a source had at a time is below some offsets of a topic."""

    source: str
    """The name of the source."""
    as_of: Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
    """In milliseconds since 1970, by the clock of the replica that read the source; up to the year 9999."""
    topic: str
    """Where its events are."""
    epoch: str
    """Of that topic."""
    ends: list[int]
    """By partition: an offset above every event of the source that was read by then."""
    channels: list[str] = []
    """Of a watermark about the publish topic: the channels for which it holds."""

    def record(self) -> Outgoing:
        """Return the record of the topic of watermarks."""
        return Outgoing(self.source.encode(), _encode(self))

    def passed_by(self, positions: Mapping[int, int]) -> bool:
        """Return whether these positions, by partition, are at or behind the ends of all partitions."""
        return all(positions.get(number, 0) >= end for number, end in enumerate(self.ends))

    def bounded(self, written_ms: int, now_ms: int) -> "Watermark":
        """Return it with a time that is not ahead of the reader's clock.

        `written_ms` is when its record was written, by the clock of another replica as well. Where the time is ahead,
        that is the better one: no poll began after its watermark was written.
        """
        if self.as_of <= now_ms:
            return self
        return msgspec.structs.replace(self, as_of=written_ms if 0 < written_ms < now_ms else now_ms)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Watermark).decode


def read_watermark(value: bytes | None) -> Watermark:
    """Read the value of a record.

    Raises:
        Malformed: it is of another release, or of another program.
    """
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed(f"watermark: {exc}") from exc


def watermarks_about(topic: str, records: Sequence[Record]) -> Iterator[Watermark]:
    """Yield the watermarks about a topic among records of the topic of watermarks; what cannot be read is left out."""
    for record in records:
        try:
            mark = read_watermark(record.value)
        except Malformed as exc:
            logger.debug("ignoring watermark of another release", extra={"error": str(exc)})
            continue
        if mark.topic == topic:
            yield mark


def vector(ends: Mapping[int, int]) -> list[int]:
    """Return offsets by partition as a list."""
    return [ends[number] for number in range(len(ends))]
