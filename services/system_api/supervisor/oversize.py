"""Isolates a record that is too large for the bus, so that it does not stop its source.

The bus reports only that a transaction was too large. The source is therefore read again from its checkpoint, one
event per transaction, until the record that the bus rejects is alone in its transaction. That record goes to the dead
letter topic with the head of its value and an error that says so. No I/O.
"""

import dataclasses

from services.system_api.sources.source import Batch
from shared.bus.protocol import IN_FLIGHT, Outgoing, size_of
from shared.events.dead_letter import KEPT_BYTES, Reject
from shared.events.headers import PROVENANCE, unpack_provenance


class OversizeFilter:
    """Which records of one source are too large for the bus."""

    def __init__(self) -> None:
        self.isolating = False
        """Whether events must be read and committed one by one."""
        self._too_large: set[str] = set()
        self._remaining = 0

    def note_too_large(self, batch: Batch) -> None:
        """Record that the bus rejected this batch, or one in flight together with it."""
        if self.isolating:
            self._too_large.add(_largest(batch))
        self.isolating = True
        self._remaining = IN_FLIGHT * (len(batch.records) + len(batch.rejects) + 1)

    def note_committed(self) -> None:
        """Record that the bus committed a batch; isolation ends when everything that was in flight is committed."""
        self._remaining -= 1
        if self.isolating and self._remaining <= 0:
            self._too_large.clear()
            self.isolating = False

    def exclude_rejected(self, batch: Batch) -> Batch:
        """Return the batch with each record that the bus rejected turned into a reject of bounded size."""
        if not self._too_large:
            return batch
        kept, rejects = list[Outgoing](), [self._truncated(reject) for reject in batch.rejects]
        for record in batch.records:
            identity = _identity(record)
            if identity in self._too_large:
                size = size_of(record)
                error = f"an event of {size} bytes is above the bus's limit; its first {KEPT_BYTES} bytes are kept"
                value = (record.value or b"")[:KEPT_BYTES]
                rejects.append(Reject(identity, value, error, "source", f"source:{identity}"))
            else:
                kept.append(record)
        return dataclasses.replace(batch, records=kept, rejects=rejects)

    def _truncated(self, reject: Reject) -> Reject:
        if reject.id not in self._too_large or len(reject.value) <= KEPT_BYTES:
            return reject
        error = f"{reject.error} (of its {len(reject.value)} bytes the first {KEPT_BYTES} are kept)"
        return dataclasses.replace(reject, value=reject.value[:KEPT_BYTES], error=error)


def _identity(record: Outgoing) -> str:
    return unpack_provenance(dict(record.headers)[PROVENANCE]).id


def _largest(batch: Batch) -> str:
    sizes = {_identity(record): size_of(record) for record in batch.records}
    sizes.update((reject.id, size_of(reject.record())) for reject in batch.rejects)
    return max(sizes, key=sizes.__getitem__, default="")
