"""What one transaction will hold, while it is filled: records go in, outputs and dead letters come out. Sans-I/O."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.process_api.draft import Draft
from services.process_api.expression.jsonata import TooSlow
from services.process_api.pipeline import Lap, Pipeline, Refused
from services.process_api.selection import Selection
from services.process_api.suspects import KEPT, Suspects
from shared.bus.protocol import RECORD_LIMIT, Headers, Outgoing, Record, TopicPartition, Transaction, size_of
from shared.bus.topics import TopicsOptions
from shared.dead_letter import Reject
from shared.errors import Unavailable
from shared.event import TRAIL, MalformedEvent, Trail, unpack_trail

Watch = Callable[[Pipeline], Lap]
"""Times the steps of a pipeline for one event."""

_STAGE = "pipeline"
_SOURCES = "/sources/"
_SURELY_SMALL = RECORD_LIMIT - 65_536
"""A value of so many bytes fits, whatever its key and headers are."""

_IDENTITY_LIMIT = 1024
"""Characters of an id that a dead letter is called by; one of megabytes could make it too large for the bus as well."""


@dataclass(slots=True)
class Tally:
    """What became of the events that one pipeline took."""

    taken: int = 0
    published: int = 0
    refused: int = 0


_Known = tuple[bytes, Headers, bool]
"""What the headers of a record tell: its trail; the headers of what it becomes; whether the system layer made it."""


class Batch:
    """The outputs and dead letters of records of one partition, in their order."""

    def __init__(self, selection: Selection, suspects: Suspects) -> None:
        self.outputs: list[Outgoing] = []
        self.rejects: list[Reject] = []
        self.tallies = {pipeline.name: Tally() for pipeline in selection.pipelines}
        self.unclaimed = 0
        """Dead letters that no pipeline refused: no event, too large, or of a source that none takes."""
        self.count = 0
        """Records that went in."""
        self.size = 0
        """Bytes of the values that came out, as events and as dead letters."""
        self.first = self.last = -1
        """The offsets of the first record and the last one."""
        self._slow = False
        """Whether the last record was broken off because it took too long."""
        self._not_run = -1
        """The offset of the last record that went to the dead letter without being run; such a one comes alone."""
        self._selection = selection
        self._suspects = suspects

    def take(self, records: Sequence[Record], watch: Watch | None = None) -> int:
        """Put records in; each becomes outputs, or dead letters, or was filtered out. `watch` times the first one.

        Returns how many went in: fewer where one took so long that others are to have their turn before the next.

        Raises:
            Unavailable: a step waits for something; the record that it is about and those behind it did not go in.
        """
        done = 0
        self._slow = False
        try:
            for record in records:
                self._take(record, watch)
                watch = None
                done += 1
                if self._slow:
                    break
        except Unavailable:
            self._suspects.attempts.ran(records[done].offset)
            raise
        finally:
            if done:
                self.first = self.first if self.count else records[0].offset
                self.last = records[done - 1].offset
                self.count += done
        if self.last != self._not_run:
            self._suspects.attempts.ran(self.last)
        return done

    def transaction(self, topics: TopicsOptions, group: str, position: TopicPartition, offset: int) -> Transaction:
        """Return it as the bus takes it; `offset` is where `group` is to go on."""
        made = Transaction()
        if self.outputs:
            made.records[topics.publish] = self.outputs
        if self.rejects:
            made.records[topics.dead_letter] = [reject.record() for reject in self.rejects]
        made.settle(group, position, offset)
        return made

    def _take(self, record: Record, watch: Watch | None) -> None:
        headers = record.headers
        if len(headers) == 1 and headers[0][0] == TRAIL and record.offset > self._suspects.until:
            known: _Known | None = (headers[0][1], headers, True)
        else:
            known = self._known(record)
        if known is None:
            return
        trail = known[0]
        source = trail[: trail.find(b" ")]
        pipelines = self._selection.of(source)
        if len(pipelines) == 1:
            self._keep(record, trail, pipelines[0], _result(pipelines[0], record, known, watch))
            return
        if not pipelines:
            self._refuse(record, f"no pipeline takes the source {source.decode(errors='replace')[:80]!r}", trail)
        # All of them before anything is kept: where one has to wait for something, the record comes again.
        for pipeline, result in [(one, _result(one, record, known, watch)) for one in pipelines]:
            self._keep(record, trail, pipeline, result)

    def _known(self, record: Record) -> _Known | None:
        """Look closer at a record that is not as most are; None where it went to the dead letter."""
        trail = next((value for name, value in record.headers if name == TRAIL), None)
        refusal = self._suspects.refusal(record)
        if refusal is not None:
            self._not_run = record.offset
        else:
            try:
                made = _trail_of(record) if trail is None else trail
            except MalformedEvent as exc:
                refusal = f"event: {exc}"
            else:
                return made, ((TRAIL, made),), trail is not None
        self._refuse(record, refusal, trail)
        return None

    def _keep(self, record: Record, trail: bytes, pipeline: Pipeline, result: list[Outgoing] | Refused) -> None:
        tally = self.tallies[pipeline.name]
        tally.taken += 1
        if isinstance(result, Refused):
            tally.refused += 1
            self._slow = isinstance(result.__cause__, TooSlow)
            self._refuse(record, str(result), trail, pipeline.label)
            return
        tally.published += len(result)
        self.outputs += result
        for output in result:
            self.size += len(output[1] or b"")

    def _refuse(self, record: Record, error: str, trail: bytes | None, pipeline: str = "") -> None:
        origin = f"{record.topic}/{record.partition}/{record.offset}"
        identity, value = _identity(trail), record.value or b""
        if not identity or len(identity) > _IDENTITY_LIMIT:
            identity = origin
        attempts = self._suspects.attempts.before(record.offset) + (record.offset != self._not_run)
        reject = Reject(identity, value, error, _STAGE, origin, pipeline, attempts)
        if self._suspects.cut(record.offset) or size_of(reject.record()) > RECORD_LIMIT:
            error = f"{error} (of its {len(value)} bytes the first {KEPT} are kept)"
            reject = dataclasses.replace(reject, value=value[:KEPT], error=error)
        self.rejects.append(reject)
        self.size += len(reject.value)
        self.unclaimed += not pipeline


def _result(pipeline: Pipeline, record: Record, known: _Known, watch: Watch | None) -> list[Outgoing] | Refused:
    _, headers, ours = known
    try:
        outputs = pipeline.run(record.value or b"", headers, watch and watch(pipeline), ours=ours)
    except Refused as exc:
        return exc
    for output in outputs:
        if len(output[1] or b"") > _SURELY_SMALL and size_of(output) > RECORD_LIMIT:
            return Refused(f"it becomes an event of {size_of(output)} bytes, the limit is {RECORD_LIMIT}")
    return outputs


def _trail_of(record: Record) -> bytes:
    """Make the trail of an event that came without: somebody else than the system layer wrote it.

    Raises:
        MalformedEvent: it is no event.
    """
    draft = Draft(record.value or b"")
    source, identity = draft.attribute("source") or "", draft.attribute("id") or ""
    return Trail(source.removeprefix(_SOURCES).replace(" ", "_"), record.timestamp, identity).pack()


def _identity(trail: bytes | None) -> str | None:
    try:
        return unpack_trail(trail or b"").id or None
    except MalformedEvent:
        return None
