"""Looks for the records of one event in the topics, one topic after the other. Sans-I/O.

An event is known by its id, which is in the header `trelay-provenance` of every record that a source or `POST /entity`
wrote, and kept by pipelines; or in the event itself. No topic is ordered by it, so a range of times is read. The state
of a search is data: a request reads for some seconds, and the next one continues.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from services.experience_api.explain.audited import Audit
from shared.bus.protocol import Record
from shared.errors import Malformed
from shared.events.dead_letter import INPUT_PROVENANCE
from shared.events.event import MalformedEvent
from shared.events.headers import PROVENANCE, Provenance, unpack_provenance

_PART = "trelay-part"
"""The header of a record of the ingest topic between two parts of a pipeline."""
_TOGETHER_MS = 60_000
"""Milliseconds within which the results of one event are published."""
_FOUND_LIMIT = 50
"""Records of one event that are kept, of each topic."""
_ERROR_LIMIT = 500
"""Characters of the error of a dead letter that are kept."""
_CURSOR_BYTES = 1_048_576
"""The largest state that a cursor may hold."""


class Stage(StrEnum):
    """The topic that is read."""

    INGEST = "ingest"
    DEAD_LETTER = "dead_letter"
    PUBLISH = "publish"
    AUDIT = "audit"
    """What each connection was written, for an event that is published."""
    DONE = "done"


_NEXT = {
    Stage.INGEST: Stage.DEAD_LETTER,
    Stage.DEAD_LETTER: Stage.PUBLISH,
    Stage.PUBLISH: Stage.AUDIT,
    Stage.AUDIT: Stage.DONE,
}


class Found(msgspec.Struct, frozen=True):
    """A record of the event."""

    stage: Stage
    partition: int
    offset: int
    at: int
    """When it was written, in milliseconds since 1970."""
    key: str
    """The channel on the publish topic."""
    source: str = ""
    """The name of the source, or `entity`; empty where no header tells it."""
    read_ms: int = 0
    pipeline: str = ""
    """The pipeline that refused it, of a dead letter."""
    error: str = ""
    """Why, of a dead letter."""


class Search(msgspec.Struct):
    """How far a search is."""

    event: str
    source: str
    """Only events of this source; empty for any."""
    since: int
    """The earliest time of its records, in milliseconds since 1970."""
    until: int
    """The latest time of its record on the ingest topic."""
    byte_limit: int
    """Bytes of each topic that are read at most."""
    stage: Stage = Stage.INGEST
    begun: bool = False
    """Whether the offsets of this stage are known."""
    positions: dict[int, int] = {}
    ends: dict[int, int] = {}
    first: dict[int, int] = {}
    found: list[Found] = []
    records: int = 0
    """That were read, in all."""
    bytes: int = 0
    stage_bytes: int = 0
    cut: list[Stage] = []
    """The topics that were not read to their end."""
    more: bool = False
    """Whether there are more records of the event than are kept."""
    audit: Audit = msgspec.field(default_factory=Audit)

    @property
    def from_ms(self) -> int:
        """From when on this stage has to be read: an event is published, or refused, after it was ingested."""
        if self.stage is Stage.AUDIT:  # its records have the clock of a replica
            return min(each.at for each in self.of(Stage.PUBLISH)) - _TOGETHER_MS
        ingested = self.of(Stage.INGEST)
        return max(self.since, min(each.at for each in ingested)) if ingested else self.since

    def of(self, stage: Stage) -> list[Found]:
        """Return what was found in one topic."""
        return [each for each in self.found if each.stage is stage]

    def begin(self, positions: Mapping[int, int], ends: Mapping[int, int]) -> None:
        """Read this stage from these offsets up to those."""
        self.first = dict(positions)
        self.positions = {number: min(offset, ends[number]) for number, offset in positions.items()}
        self.ends, self.begun, self.stage_bytes = dict(ends), True, 0
        self._leave()

    def take(self, records: Sequence[Record], positions: Mapping[int, int]) -> None:
        """Take records of this stage, and the offsets up to which it was read."""
        for record in records:
            size = len(record.value or b"")
            self.records, self.bytes, self.stage_bytes = self.records + 1, self.bytes + size, self.stage_bytes + size
            if record.offset < self.ends[record.partition]:
                self._look_at(record)
        for number, offset in positions.items():
            self.positions[number] = min(max(offset, self.positions[number]), max(self.ends[number], 0))
        if self.stage_bytes >= self.byte_limit and self._left():
            self.cut.append(self.stage)
            self.ends = dict(self.positions)
        self._leave()

    def progress(self) -> float:
        """Return how much of the search is done, 0 to 1."""
        stages = [*_NEXT, Stage.DONE]
        total = sum(self.ends[number] - first for number, first in self.first.items() if number in self.ends)
        done = sum(self.positions[number] - first for number, first in self.first.items() if number in self.positions)
        share = done / total if total > 0 else 0.0
        return min(1.0, (stages.index(self.stage) + (share if self.stage is not Stage.DONE else 0)) / len(_NEXT))

    def save(self) -> str:
        """Return it as the cursor of the next request, short enough for a URL with many partitions and records."""
        return base64.urlsafe_b64encode(zlib.compress(msgspec.json.encode(self), 9)).decode().rstrip("=")

    def _left(self) -> bool:
        return any(offset < self.ends[number] for number, offset in self.positions.items())

    def _leave(self) -> None:
        if not self._left():
            self.stage, self.begun = _NEXT[self.stage], False
            if self.stage is Stage.AUDIT and not self.of(Stage.PUBLISH):
                self.stage = Stage.DONE
            self.positions, self.ends, self.first = {}, {}, {}

    def _look_at(self, record: Record) -> None:
        published = self.of(Stage.PUBLISH)
        if self.stage is Stage.AUDIT:
            places = [(each.partition, each.offset) for each in published]
            self.audit.take(record.key, record.value or b"", places)
            if self.audit.is_complete(places):
                self.ends = dict.fromkeys(self.ends, -1)
            return
        if self.stage is Stage.PUBLISH and published and record.timestamp > published[0].at + _TOGETHER_MS:
            self.ends[record.partition] = min(self.ends[record.partition], record.offset)
            return
        found = self._matched(record)
        if found is None:
            return
        if len(self.of(self.stage)) >= _FOUND_LIMIT:
            self.more = True
            return
        self.found.append(found)
        if self.stage is Stage.INGEST:  # each event is there once, but between the parts of its pipeline
            self.ends = dict.fromkeys(self.ends, -1)

    def _matched(self, record: Record) -> Found | None:
        headers = dict(record.headers)
        if self.stage is Stage.INGEST and _PART in headers:
            return None
        packed = headers.get(INPUT_PROVENANCE if self.stage is Stage.DEAD_LETTER else PROVENANCE)
        provenance = _unpacked(packed)
        key, wanted = (record.key or b"").decode(errors="replace"), self.event
        same = (provenance is not None and provenance.id == wanted) or (
            self.stage is Stage.DEAD_LETTER and key == wanted
        )
        value = record.value or b""
        if not same and (wanted.encode() not in value or _id_of(value) != wanted):
            return None
        source = "" if provenance is None else provenance.source
        if not source and self.stage is Stage.DEAD_LETTER:
            source = wanted.partition(":")[0]
        if self.source and source and source != self.source:
            return None
        return Found(
            self.stage,
            record.partition,
            record.offset,
            record.timestamp,
            key,
            source,
            0 if provenance is None else provenance.read_ms,
            headers.get("pipeline", b"").decode(errors="replace"),
            headers.get("error", b"").decode(errors="replace")[:_ERROR_LIMIT],
        )


class _Identified(msgspec.Struct):
    id: str = ""


_identified = msgspec.json.Decoder(_Identified).decode
_search = msgspec.json.Decoder(Search).decode


def read_search(cursor: str) -> Search:
    """Read the cursor of a request.

    Raises:
        Malformed: it is not one that `Search.save` returned.
    """
    expected = "query parameter 'cursor': expected that of the answer before"
    try:
        search = _search(_inflated(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))))
    except (ValueError, zlib.error, msgspec.MsgspecError) as exc:
        raise Malformed(expected) from exc
    if not search.positions.keys() == search.ends.keys() == search.first.keys():
        raise Malformed(expected)
    return search


def _unpacked(packed: bytes | None) -> Provenance | None:
    try:
        return None if packed is None else unpack_provenance(packed)
    except MalformedEvent:
        return None


def _inflated(data: bytes) -> bytes:
    decompressor = zlib.decompressobj()
    found = decompressor.decompress(data, _CURSOR_BYTES)
    if not decompressor.eof:
        raise ValueError("cut off, or too long")
    return found


def _id_of(value: bytes) -> str:
    try:
        return _identified(value).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
