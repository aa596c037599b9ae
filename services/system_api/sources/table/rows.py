"""From rows to events and rejects; the same for every kind of database."""

from collections.abc import Iterable

from services.system_api.source import Batch, Stamp
from services.system_api.sources.table.ledger import Row
from shared.clock import rfc3339
from shared.dead_letter import Reject

_KEPT_OF_LARGE = 65_536


class RowEvents:
    """Makes the events of one table."""

    def __init__(self, stamp: Stamp, table: str, subject: str, limit: int, *, epoch: int | None) -> None:
        """`limit` is a row's size in bytes; `epoch` is where a row's order counts from, in microseconds since 1970.

        Without an epoch the order is no time, and the key alone tells a row's events apart: it has one.
        """
        self._stamp = stamp
        self._table = table
        self._subject = subject
        self._limit = limit
        self._epoch = epoch

    def add(self, rows: Iterable[Row], batch: Batch) -> None:
        """Add an event to the batch for each row, or a reject."""
        self._stamp.begin()
        for row in rows:
            position = row.key if self._epoch is None else f"{row.key}@{row.order + self._epoch}.{row.version}"
            if row.subject is None:
                self.reject(batch, position, f"key {row.key}", row.data, f"column {self._subject!r} is NULL")
            elif len(row.data) > self._limit:
                said = f"a row of {len(row.data)} bytes, the limit is {self._limit}"
                self.reject(batch, position, f"key {row.key}", row.data[:_KEPT_OF_LARGE], said)
            else:
                batch.records.append(self._stamp.event(position, row.subject, row.data, self._time(row)))

    def reject(self, batch: Batch, position: str, place: str, data: bytes, error: str) -> None:
        """Add what cannot become an event."""
        name = self._stamp.name
        origin = f"{name}:{self._table}:{place}"
        batch.rejects.append(Reject(f"{name}:{position}", data, f"{self._table}, {place}: {error}", "source", origin))

    def _time(self, row: Row) -> bytes | None:
        if self._epoch is None or abs(row.order) > _FAR:
            return None
        return rfc3339((row.order + self._epoch) / 1_000_000).encode()


_FAR = 2**56
"""Microseconds: 2,283 years. What is further is `infinity`, or as good as."""
