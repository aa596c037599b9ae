"""A dead letter, as its record in the topic says. No I/O."""

from dataclasses import dataclass
from typing import Self

import msgspec

from services.process_api.dead_letters.places import Place
from shared.bus.protocol import Record
from shared.events.dead_letter import INPUT_EDITED, INPUT_KEY, INPUT_PART, INPUT_PROVENANCE, INPUT_REWINDS, Content
from shared.events.event import MalformedEvent
from shared.events.headers import Provenance, unpack_provenance

_SOURCES = "/sources/"


class _Source(msgspec.Struct):
    source: str = ""


_source_in = msgspec.json.Decoder(_Source).decode


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter. Headers that an older version did not write are derived from the others."""

    place: Place
    timestamp: int
    """When it was written, in milliseconds since 1970."""
    id: str
    """The event's id, or the name of the source and the position in it where there is no event."""
    value: bytes
    stage: str
    origin: str
    pipeline: str
    """Name and version of the pipeline that refused the event; empty where none did."""
    error: str
    attempts: int
    content: Content
    key: bytes | None
    """The key of the record that was rejected."""
    provenance: bytes | None
    """The header `trelay-provenance` of that record."""
    truncated: int
    """The bytes of the input where the value is only its beginning, else 0."""
    replay_of: str
    """The name of the letter that this one was replayed from."""
    part: bytes | None = None
    """The header `trelay-part` of the record that was rejected: it had passed the parts of the pipeline before."""
    edited: str = ""
    """The name of the letter that held the event before an operator edited it; empty for an event as it came."""
    rewinds: str = ""
    """Of the pipeline, before it refused the event: see `Reject.rewinds`."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return the letter of a record."""
        headers = dict(record.headers)
        stage = _text(headers.get("stage"))
        error = _text(headers.get("error"))
        return cls(
            place=Place(record.partition, record.offset),
            timestamp=record.timestamp,
            id=_text(record.key),
            value=record.value or b"",
            stage=stage,
            origin=_text(headers.get("origin")),
            pipeline=_text(headers.get("pipeline")),
            error=error,
            attempts=_number(headers.get("attempts")) or 1,
            content=_content(headers.get("content"), stage),
            key=headers.get(INPUT_KEY),
            provenance=headers.get(INPUT_PROVENANCE),
            truncated=_number(headers.get("truncated")) or int("(truncated: the first " in error),
            replay_of=_text(headers.get("replay-of")),
            part=headers.get(INPUT_PART),
            edited=_text(headers.get(INPUT_EDITED)),
            rewinds=_text(headers.get(INPUT_REWINDS)),
        )

    @property
    def pipeline_name(self) -> str:
        """The name of the pipeline, without its version."""
        return self.pipeline.partition("@")[0]

    @property
    def source(self) -> str:
        """The name of the source that the input came from; empty where nothing says it."""
        if self.content is Content.INPUT:
            return self.id.partition(":")[0]
        if (provenance := self.unpacked) is not None:
            return provenance.source
        try:
            return _source_in(self.value).source.removeprefix(_SOURCES)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""

    @property
    def unpacked(self) -> Provenance | None:
        """The provenance of the record that was rejected; None where it has none that can be read."""
        try:
            return None if self.provenance is None else unpack_provenance(self.provenance)
        except MalformedEvent:
            return None


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _number(raw: bytes | None) -> int:
    text = _text(raw)
    return int(text) if text.isascii() and text.isdigit() else 0


def _content(raw: bytes | None, stage: str) -> Content:
    try:
        return Content(_text(raw))
    except ValueError:
        return Content.EVENT if stage == "pipeline" else Content.INPUT
