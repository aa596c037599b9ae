"""Which pipelines a record goes through, by its provenance; or why it is not run. Sans-I/O."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from services.process_api.operations.gate import NotLoaded
from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.part import Part, part_in
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from services.process_api.worker.poison import PoisonTracker
from shared.bus.protocol import Headers, Record
from shared.events.dead_letter import Replay, replay_in
from shared.events.event import MalformedEvent
from shared.events.headers import (
    CONTENT_TYPE,
    PROVENANCE,
    Provenance,
    headers_of,
    packed_provenance,
    unpack_provenance,
)

_SOURCES = "/sources/"
STANDARD_HEADERS = 2
"""How many headers a record of the system layer has."""

Routed: TypeAlias = tuple[bytes, Headers, bool, Replay | None, Part | None]
"""Of a record: its packed provenance, the headers of its outputs, whether the system layer wrote it, and, where an
operator replayed it or it goes on in a later part of a pipeline, what its headers say of that."""


class Refused(NamedTuple):
    """Why a record is not run."""

    error: str
    provenance: bytes | None
    attempted: bool
    """Whether this counts as an attempt."""


class Router:
    """Routes the records of one batch."""

    def __init__(self, selection: Selection, poison: PoisonTracker) -> None:
        self._selection = selection
        self._poison = poison

    def route(self, record: Record) -> Routed | Refused:
        """Return what is known of a record before it is run, or why it is not run."""
        headers = record.headers
        standard = len(headers) == STANDARD_HEADERS and headers[0] == CONTENT_TYPE and headers[1][0] == PROVENANCE
        # Kafka allows a header without a value, which another program may write.
        if standard and headers[1][1] and record.offset > self._poison.last_known:
            return headers[1][1], headers, True, None, None
        # One with other headers, or one that may be poison.
        provenance = packed_provenance(headers)
        rejection = self._poison.rejection(record)
        if rejection is not None:
            return Refused(rejection, provenance, attempted=False)
        try:
            packed = provenance_of(record.value or b"", record.timestamp) if provenance is None else provenance
        except MalformedEvent as exc:
            return Refused(f"event: {exc}", provenance, attempted=True)
        return packed, headers_of(packed), provenance is not None, replay_in(headers), part_in(headers)

    def pipelines(self, routed: Routed, written: int = 0) -> Sequence[Pipeline]:
        """Return the pipelines that take the record; of a replayed one, the one that refused it alone.

        The other pipelines have published what they make of it. Of one that goes on in a later part, its pipeline.
        `written` is the timestamp of the record.

        Raises:
            NotLoaded: that pipeline, or its part, may be loaded in a moment.
        """
        if (part := routed[4]) is not None:
            pipeline = self._selection.divided.get(part.pipeline)
            if pipeline is not None and part.number < pipeline.parts:
                return [pipeline]
            if routed[3] is None and self._selection.may_load(part, written):
                raise NotLoaded(part)
            return []
        found, replay = self._selection.of(source_of(routed)), routed[3]
        if replay is None or not replay.pipeline:
            return found
        wanted = replay.pipeline.partition("@")[0]
        return [pipeline for pipeline in found if pipeline.name == wanted]


def source_of(routed: Routed) -> bytes:
    """Return the name of a record's source."""
    return routed[0][: routed[0].find(b" ")]


def id_of(provenance: bytes | None) -> str | None:
    """Return the id of a record's event, None where the provenance has none."""
    try:
        return unpack_provenance(provenance or b"").id or None
    except MalformedEvent:
        return None


def provenance_of(value: bytes, read_ms: int) -> bytes:
    """Make the packed provenance of an event that another program than Trelay wrote, at a time.

    Raises:
        MalformedEvent: the value is not an event.
    """
    draft = Draft(value)
    source, identity = draft.attribute("source") or "", draft.attribute("id") or ""
    return Provenance(source.removeprefix(_SOURCES).replace(" ", "_"), read_ms, identity).pack()


def why_unclaimed(routed: Routed) -> str:
    """Return why no pipeline takes a record."""
    _, _, _, replay, part = routed
    if part is not None:
        return f"the pipeline {part.pipeline!r} has no part {part.number + 1} any more, in which the event goes on"
    wanted = "" if replay is None else replay.pipeline.partition("@")[0]
    takes = f"the pipeline {wanted!r} does not take" if wanted else "no pipeline takes"
    return f"{takes} the source {source_of(routed).decode(errors='replace')[:80]!r}"
