"""One record that the bus finds too large must not stop its source: it is found out, cut, and put aside.

The bus says only that a transaction was too large. So the source is read again from its checkpoint one event at a
time, until the record that is refused stands alone; it goes to the dead letter without most of its value, and says so.
No I/O.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

from services.system_api.source import Batch
from shared.bus.protocol import IN_FLIGHT, Outgoing, size_of
from shared.dead_letter import Reject
from shared.event import TRAIL, unpack_trail

KEPT = 65_536
"""Bytes that remain of a value that is too large: enough to recognise it by."""


class Oversize:
    """What is known of the records of one source that are too large."""

    def __init__(self) -> None:
        self.searching = False
        """Whether events are to be read and committed one by one."""
        self._refused: set[str] = set()
        self._tried: Counter[str] = Counter()
        self._left = 0

    def refuse(self, batch: Batch, under_way: Iterable[Batch] = ()) -> None:
        """Note that the bus refused this batch, or one of those that were under way with it."""
        for tried in (batch, *(other for other in under_way if other is not batch)):
            self._tried.update(map(_identity, tried.records))
            self._tried.update(reject.id for reject in tried.rejects)
        if self.searching:
            self._refused.add(_largest(batch))
        self.searching = True
        self._left = IN_FLIGHT * (len(batch.records) + len(batch.rejects) + 1)

    def passed(self) -> None:
        """Note that the bus accepted a batch; the search ends when all that was under way has passed."""
        self._left -= 1
        if self.searching and self._left <= 0:
            self._refused.clear()
            self._tried.clear()
            self.searching = False

    def strain(self, batch: Batch) -> Batch:
        """Return the batch as it can pass: what was refused has become a reject with the head of its value."""
        if not self._refused:
            return batch
        kept, rejects = list[Outgoing](), [self._cut(reject) for reject in batch.rejects]
        for record in batch.records:
            identity = _identity(record)
            if identity in self._refused:
                error = f"an event of {size_of(record)} bytes is above the bus's limit; its first {KEPT} bytes are kept"
                value = (record.value or b"")[:KEPT]
                origin, attempts = f"source:{identity}", self._tried[identity]
                rejects.append(Reject(identity, value, error, "source", origin, attempts=attempts))
            else:
                kept.append(record)
        return dataclasses.replace(batch, records=kept, rejects=rejects)

    def _cut(self, reject: Reject) -> Reject:
        if reject.id not in self._refused or len(reject.value) <= KEPT:
            return reject
        error = f"{reject.error} (of its {len(reject.value)} bytes the first {KEPT} are kept)"
        return dataclasses.replace(reject, value=reject.value[:KEPT], error=error, attempts=self._tried[reject.id])


def _identity(record: Outgoing) -> str:
    return unpack_trail(dict(record.headers)[TRAIL]).id


def _largest(batch: Batch) -> str:
    sizes = {_identity(record): size_of(record) for record in batch.records}
    sizes.update((reject.id, size_of(reject.record())) for reject in batch.rejects)
    return max(sizes, key=sizes.__getitem__, default="")
