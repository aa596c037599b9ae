"""Isolates a record that is too large for the bus, so that it does not stop its source.

The bus reports only that a transaction was too large. The source is therefore read again from its checkpoint, one
event per transaction, until the record that the bus rejects is alone in its transaction. That record goes to the dead
letter topic with the head of its value and an error that says so. No I/O.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from operator import itemgetter

from services.system_api.sources.source import Batch
from shared.bus.protocol import IN_FLIGHT, RECORD_LIMIT, Outgoing, size_of
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.headers import PROVENANCE, unpack_provenance

_value = itemgetter(Outgoing._fields.index("value"))


class OversizeFilter:
    """Which records of one source are too large for the bus."""

    def __init__(self) -> None:
        self.isolating = False
        """Whether events must be read and committed one by one."""
        self._too_large: set[str] = set()
        self._attempts: Counter[str] = Counter()
        self._remaining = 0

    def note_too_large(self, batch: Batch, in_flight: Iterable[Batch] = ()) -> None:
        """Record that the bus rejected this batch, or one in flight together with it."""
        for tried in (batch, *(other for other in in_flight if other is not batch)):
            self._attempts.update(map(_identity, tried.records))
            self._attempts.update(reject.id for reject in tried.rejects)
        if self.isolating:
            self._too_large.add(_largest(batch))
        self.isolating = True
        self._remaining = IN_FLIGHT * (len(batch.records) + len(batch.rejects) + 1)

    def note_committed(self) -> None:
        """Record that the bus committed a batch; isolation ends when everything that was in flight is committed."""
        self._remaining -= 1
        if self.isolating and self._remaining <= 0:
            self._too_large.clear()
            self._attempts.clear()
            self.isolating = False

    def exclude_rejected(self, batch: Batch, limit: int = RECORD_LIMIT) -> Batch:
        """Return the batch with each record that is too large turned into a reject of bounded size.

        Too large is what the bus rejected, and an event of more than `limit` bytes.
        """
        largest = max(map(len, filter(None, map(_value, batch.records))), default=0)
        if not self._too_large and largest <= limit:
            return batch
        kept, rejects = list[Outgoing](), [self._truncated(reject) for reject in batch.rejects]
        for record in batch.records:
            identity = _identity(record)
            size = len(record.value or b"")
            if identity in self._too_large or size > limit:
                bus = identity in self._too_large
                above = f"{size_of(record)} bytes is above the bus's limit" if bus else f"{size} bytes is above {limit}"
                error = f"an event of {above}; its first {KEPT_BYTES} bytes are kept"
                value = (record.value or b"")[:KEPT_BYTES]
                origin, attempts = f"source:{identity}", self._attempts[identity]
                rejects.append(Reject(identity, value, error, "source", origin, attempts=attempts))
            else:
                kept.append(record)
        return dataclasses.replace(batch, records=kept, rejects=rejects)

    def _truncated(self, reject: Reject) -> Reject:
        if reject.id not in self._too_large or len(reject.value) <= KEPT_BYTES:
            return reject
        error = f"{reject.error} (of its {len(reject.value)} bytes the first {KEPT_BYTES} are kept)"
        attempts = self._attempts[reject.id]
        return dataclasses.replace(reject, value=reject.value[:KEPT_BYTES], error=error, attempts=attempts)


def _identity(record: Outgoing) -> str:
    return unpack_provenance(dict(record.headers)[PROVENANCE]).id


def _largest(batch: Batch) -> str:
    sizes = {_identity(record): size_of(record) for record in batch.records}
    sizes.update((reject.id, size_of(reject.record())) for reject in batch.rejects)
    return max(sizes, key=sizes.__getitem__, default="")
