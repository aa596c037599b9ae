"""Makes events and rejects of rows, for all kinds of databases."""

from collections.abc import Callable, Iterable
from typing import Generic

from services.system_api.sources.source import Batch, EventBuilder
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.null_key_rows import NullKeyRow
from shared.events import strict_json
from shared.events.dead_letter import KEPT_BYTES, Reject

PositionOf = Callable[[Row[Order]], str]
"""Returns what identifies a state of a row, the same whenever it is read: it becomes part of the event's id."""
Time = Callable[[Order], bytes | None]
"""Returns when a row was changed (RFC 3339) if its order value tells."""


class RowEvents(Generic[Order]):
    """Makes the events of one table."""

    def __init__(
        self,
        builder: EventBuilder,
        table: str,
        subject: str,
        limit: int,
        position: PositionOf[Order],
        time: Time[Order],
    ) -> None:
        """`subject` is the column of subjects, `limit` the maximum size of a row in bytes."""
        self.name = builder.name
        self._builder = builder
        self._table = table
        self._subject = subject
        self._limit = limit
        self._position: PositionOf[Order] = position
        self._time: Time[Order] = time

    def add(self, rows: Iterable[Row[Order]], batch: Batch) -> set[str]:
        """Append an event or a reject to the batch for each row; return the keys of those that were rejected."""
        self._builder.begin_batch()
        position_of, time_of, limit = self._position, self._time, self._limit
        event, append, is_plain = self._builder.event, batch.records.append, strict_json.is_plain
        rejected = set[str]()
        for row in rows:
            order, key, _, subject, data, error = row
            if error is None:
                if not subject:
                    error = f"column {self._subject!r} is {'NULL' if subject is None else 'empty'}"
                elif len(data) > limit:
                    error = f"found a row of {len(data)} bytes, the limit is {limit}"
                elif not is_plain(data):
                    error = strict_json.fault_of(data)
            if error is None:
                append(event(position_of(row), subject or "", data, time_of(order)))
            else:
                rejected.add(key)
                self._reject(batch, position_of(row), f"key {key}", data, error)
        return rejected

    def reject_null_key_rows(self, rows: Iterable[NullKeyRow], batch: Batch) -> None:
        """Append a reject to the batch for each row without a key or order value."""
        for row in rows:
            self._reject(batch, f"null-key.{row.digest}", "row without key or time", row.data, row.error)

    def _reject(self, batch: Batch, position: str, place: str, data: bytes, error: str) -> None:
        name = self._builder.name
        origin = f"{name}:{self._table}:{place}"
        kept = data[:KEPT_BYTES]
        batch.rejects.append(Reject(f"{name}:{position}", kept, f"{self._table}, {place}: {error}", "source", origin))
