"""The content of one transaction while it is filled: records go in, outputs and dead letters come out. Sans-I/O."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.pipeline import OnStep, Pipeline, Rejected
from services.process_api.pipeline.selection import Selection
from services.process_api.worker.poison import PoisonTracker
from shared.bus.protocol import RECORD_LIMIT, Headers, Outgoing, Record, TopicPartition, Transaction, size_of
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.event import MalformedEvent
from shared.events.headers import (
    CONTENT_TYPE,
    PROVENANCE,
    Provenance,
    headers_of,
    packed_provenance,
    unpack_provenance,
)

StepTimer = Callable[[Pipeline], OnStep]
"""Starts to time the steps of a pipeline for one event."""

_STAGE = "pipeline"
_SOURCES = "/sources/"
_STANDARD_HEADERS = 2
"""How many headers a record of the system layer has."""

_SURELY_FITS = RECORD_LIMIT - 65_536
"""A value of so many bytes fits, whatever its key and headers are."""

_ID_LIMIT = 1024
"""Characters of an id that becomes the key of a dead letter; a longer one could make it too large for the bus."""


@dataclass(slots=True)
class Tally:
    """Counts of the events that one pipeline took."""

    taken: int = 0
    published: int = 0
    rejected: int = 0


_Routed = tuple[bytes, Headers, bool]
"""Of a record: its packed provenance, the headers of its outputs, and whether the system layer wrote it."""


class Batch:
    """The outputs and dead letters of records of one partition, in their order."""

    def __init__(self, selection: Selection, poison: PoisonTracker, event_limit: int = RECORD_LIMIT) -> None:
        """`event_limit` is the bytes of the largest event for subscribers."""
        self._event_limit = event_limit
        self.outputs: list[Outgoing] = []
        self.rejects: list[Reject] = []
        self.tallies = {pipeline.name: Tally() for pipeline in selection.pipelines}
        self.unclaimed = 0
        """Dead letters of no pipeline: not an event, too large, or of a source that no pipeline takes."""
        self.count = 0
        """Records that were added."""
        self.size = 0
        """Bytes of the values of outputs and dead letters."""
        self.first = self.last = -1
        """The offsets of the first record and the last one."""
        self._timed_out = False
        """Whether an expression timed out on the last record."""
        self._not_run = -1
        """The offset of the last record that was rejected without being run; such a record comes alone."""
        self._selection = selection
        self._poison = poison

    def add(self, records: Sequence[Record], step_timer: StepTimer | None = None) -> int:
        """Run the pipelines on records; each becomes outputs or dead letters, or is filtered out.

        `step_timer` times the first record. Returns how many records were added: fewer than given where an expression
        timed out, so that other tasks run before the next record.

        Raises:
            Unavailable: a step waits for something; its record and those behind it were not added.
        """
        done = 0
        self._timed_out = False
        try:
            for record in records:
                self._add(record, step_timer)
                step_timer = None
                done += 1
                if self._timed_out:
                    break
        except Unavailable:
            self._poison.attempts.ran(records[done].offset)
            raise
        finally:
            if done:
                self.first = self.first if self.count else records[0].offset
                self.last = records[done - 1].offset
                self.count += done
        if self.last != self._not_run:
            self._poison.attempts.ran(self.last)
        return done

    def transaction(self, topics: TopicsOptions, group: str, position: TopicPartition, offset: int) -> Transaction:
        """Return the transaction for the bus; it commits `offset` for `group`."""
        made = Transaction()
        if self.outputs:
            made.records[topics.publish] = self.outputs
        if self.rejects:
            made.records[topics.dead_letter] = [reject.record() for reject in self.rejects]
        made.commit_offset(group, position, offset)
        return made

    def _add(self, record: Record, step_timer: StepTimer | None) -> None:
        headers = record.headers
        standard = len(headers) == _STANDARD_HEADERS and headers[0] == CONTENT_TYPE and headers[1][0] == PROVENANCE
        if standard and record.offset > self._poison.last_known:
            routed: _Routed | None = (headers[1][1], headers, True)
        else:
            routed = self._route(record)
        if routed is None:
            return
        provenance = routed[0]
        source = provenance[: provenance.find(b" ")]
        pipelines = self._selection.of(source)
        if len(pipelines) == 1:
            self._keep(record, provenance, pipelines[0], self._result(pipelines[0], record, routed, step_timer))
            return
        if not pipelines:
            self._reject(record, f"no pipeline takes the source {source.decode(errors='replace')[:80]!r}", provenance)
        # All results before any is kept: where one pipeline has to wait for something, the record comes again.
        for pipeline, result in [(one, self._result(one, record, routed, step_timer)) for one in pipelines]:
            self._keep(record, provenance, pipeline, result)

    def _result(
        self, pipeline: Pipeline, record: Record, routed: _Routed, step_timer: StepTimer | None
    ) -> list[Outgoing] | Rejected:
        _, headers, spliced = routed
        try:
            outputs = pipeline.run(record.value or b"", headers, step_timer and step_timer(pipeline), spliced=spliced)
        except Rejected as exc:
            return exc
        for output in outputs:
            size = len(output[1] or b"")
            if size > self._event_limit:
                limit = f"{self._event_limit} (see `bus.topics.largest_frame`)"
                return Rejected(f"the event would have {size} bytes, the limit is {limit}")
            if size > _SURELY_FITS and size_of(output) > RECORD_LIMIT:
                return Rejected(f"the event would have {size_of(output)} bytes, the limit is {RECORD_LIMIT}")
        return outputs

    def _route(self, record: Record) -> _Routed | None:
        """Route a record with other headers, or one that may be poison; None where it is rejected."""
        provenance = packed_provenance(record.headers)
        rejection = self._poison.rejection(record)
        if rejection is not None:
            self._not_run = record.offset
        else:
            try:
                packed = _provenance_of(record) if provenance is None else provenance
            except MalformedEvent as exc:
                rejection = f"event: {exc}"
            else:
                return packed, headers_of(packed), provenance is not None
        self._reject(record, rejection, provenance)
        return None

    def _keep(self, record: Record, provenance: bytes, pipeline: Pipeline, result: list[Outgoing] | Rejected) -> None:
        tally = self.tallies[pipeline.name]
        tally.taken += 1
        if isinstance(result, Rejected):
            tally.rejected += 1
            self._timed_out = self._timed_out or result.timed_out
            self._reject(record, str(result), provenance, pipeline.label)
            return
        tally.published += len(result)
        self.outputs += result
        for output in result:
            self.size += len(output[1] or b"")

    def _reject(self, record: Record, error: str, provenance: bytes | None, pipeline: str = "") -> None:
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        identity, value = _id_of(provenance), record.value or b""
        if not identity or len(identity) > _ID_LIMIT:
            identity = origin
        attempts = self._poison.attempts.before(record.offset) + (record.offset != self._not_run)
        reject = Reject(identity, value, error, _STAGE, origin, pipeline, attempts)
        if self._poison.is_truncated(record.offset) or size_of(reject.record()) > RECORD_LIMIT:
            error = f"{error} (truncated: the first {KEPT_BYTES} of {len(value)} bytes)"
            reject = dataclasses.replace(reject, value=value[:KEPT_BYTES], error=error)
        self.rejects.append(reject)
        self.size += len(reject.value)
        self.unclaimed += not pipeline


def _provenance_of(record: Record) -> bytes:
    """Make the packed provenance of a record that another program than Trelay wrote.

    Raises:
        MalformedEvent: the value is not an event.
    """
    draft = Draft(record.value or b"")
    source, identity = draft.attribute("source") or "", draft.attribute("id") or ""
    return Provenance(source.removeprefix(_SOURCES).replace(" ", "_"), record.timestamp, identity).pack()


def _id_of(provenance: bytes | None) -> str | None:
    try:
        return unpack_provenance(provenance or b"").id or None
    except MalformedEvent:
        return None
