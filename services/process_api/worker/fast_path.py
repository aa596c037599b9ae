"""The fast path of a batch: consecutive records of one source, which one plain pipeline takes, without routing each.

It ends at the first record that differs, and the batch adds that one itself. A pipeline without steps takes less time
than the calls around it, so here a record costs one call: that of the pipeline. Sans-I/O.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.worker.outputs import SURELY_FITS, Tally, checked
from services.process_api.worker.routing import STANDARD_HEADERS, Routed, source_of
from services.process_api.worker.waiting import Result
from shared.bus.protocol import Outgoing, Record
from shared.events.headers import CONTENT_TYPE, PROVENANCE

_WORTHWHILE = 8
"""Records of one source in a row. Where there are fewer, sources alternate, and each end costs half a microsecond."""


class Filling(Protocol):
    """The batch that records are added to."""

    outputs: list[Outgoing]
    size: int
    tallies: dict[str, Tally]
    done: int
    """How many of the records at hand were added."""

    def keep(self, record: Record, provenance: bytes, pipeline: Pipeline, result: Result) -> None:
        """Add what a pipeline made of a record."""
        ...


class FastPath:
    """The fast path of one source."""

    def __init__(self, source: bytes, pipeline: Pipeline, event_limit: int, last_known: int) -> None:
        """`source` is a name in UTF-8; `event_limit` is the bytes of the largest event for subscribers.

        Records up to the offset `last_known` may be poison.
        """
        self._prefix = source + b" "
        self._pipeline = pipeline
        self._event_limit = event_limit
        self._last_known = last_known
        self._added = 0

    @property
    def worthwhile(self) -> bool:
        """Whether it has taken so many records that finding out where it ends has paid."""
        return self._added >= _WORTHWHILE

    def add(self, batch: Filling, records: Sequence[Record]) -> bool:
        """Add records from `batch.done` on; return False if the first one has to be added in another way.

        Raises:
            Exception: what the pipeline raised, other than `Rejected`, for the first record that was not added.
        """
        begin = batch.done
        prefix, fits, last_known = self._prefix, min(self._event_limit, SURELY_FITS), self._last_known
        run, append = self._pipeline.run, batch.outputs.append
        taken = published = size = 0
        result: Result | None = None
        try:
            for record in islice(records, begin, None):
                headers = record.headers
                if (
                    len(headers) != STANDARD_HEADERS
                    or headers[0] != CONTENT_TYPE
                    or headers[1][0] != PROVENANCE
                    or not (headers[1][1] or b"").startswith(prefix)
                    or record.offset <= last_known
                ):
                    break
                try:
                    made = run(record.value or b"", headers, spliced=True)
                except Rejected as exc:
                    result = exc
                    break
                if len(made) == 1 and (length := len(made[0][1] or b"")) <= fits:
                    append(made[0])
                    size += length
                    published += 1
                elif made:
                    result = made
                    break
                taken += 1
        finally:
            tally = batch.tallies[self._pipeline.name]
            tally.taken += taken
            tally.published += published
            batch.size += size
            batch.done += taken
            self._added += taken
        if result is not None:
            record = records[batch.done]
            batch.keep(record, record.headers[1][1], self._pipeline, checked(result, self._event_limit))
            batch.done += 1
        return batch.done > begin


def fast_path_of(routed: Routed, pipeline: Pipeline, event_limit: int, last_known: int) -> FastPath | None:
    """Return the fast path of the source of a record that this pipeline alone takes; None if it cannot have one."""
    _, _, spliced, replay, part = routed
    if not spliced or replay is not None or part is not None or pipeline.parts > 1 or pipeline.shadowed:
        return None
    return FastPath(source_of(routed), pipeline, event_limit, last_known)
