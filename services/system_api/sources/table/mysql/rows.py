"""Reads the contents of rows whose places are known, within a number of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.system_api.sources.table.keys import encoded
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.shape import MysqlShape
from services.system_api.sources.table.mysql.values import Encoder, as_text
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.time_scale import order_of
from shared.events.dead_letter import KEPT_BYTES


@dataclass(frozen=True, slots=True)
class Place:
    """A row without its contents."""

    order: int
    key: str
    size: int
    digest: str

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Place":
        """Make a place of what `statements.positions` returns."""
        order, *keys, size, digest = values
        # The server does not hash what is larger than a packet: it differs by its size.
        text = f"{size}" if digest is None else str(digest)
        number = order if isinstance(order, int) else order_of(order) if isinstance(order, float) else 0
        return cls(number, encoded([as_text(value) or "" for value in keys]), int(size), text)


class MysqlRows:
    """Reads rows of one shape, in the snapshot in which their places were read."""

    def __init__(self, connection: MysqlConnection, shape: MysqlShape, options: TableSourceOptions) -> None:
        self._connection = connection
        self._shape = shape
        self._limit = options.row_limit
        self._encoder = Encoder(shape.columns)

    async def read(self, places: Sequence[Place], max_bytes: int) -> list[Row[int]]:
        """Return rows in the order of their places; no more rows once they have `max_bytes` bytes."""
        chosen: list[Place] = []
        size = 0
        for place in places:
            chosen.append(place)
            size += min(place.size, KEPT_BYTES) if place.size > self._limit else place.size
            if size >= max_bytes:
                break
        rows: dict[str, Row[int]] = {}
        small = [place for place in chosen if place.size <= self._limit]
        for begin in range(0, len(small), statements.AT_ONCE):
            rows |= await self._contents(small[begin : begin + statements.AT_ONCE], cut=False)
        for place in chosen:
            if place.size > self._limit:
                rows |= await self._contents([place], cut=True)
        # In another snapshot a row may be gone.
        return [rows[place.key] for place in chosen if place.key in rows]

    async def _contents(self, places: Sequence[Place], *, cut: bool) -> dict[str, Row[int]]:
        shape = self._shape
        by_key = {place.key: place for place in places}
        statement, arguments = statements.contents(shape, list(by_key), cut=cut)
        found: dict[str, Row[int]] = {}
        for values in await self._connection.fetch(statement, arguments):
            keys, subject, columns = values[: len(shape.keys)], values[len(shape.keys)], values[len(shape.keys) + 1 :]
            key = encoded([as_text(value) or "" for value in keys])
            if (place := by_key.get(key)) is None:
                continue
            data, error = self._encoder.encoded(columns)
            if cut:
                data, error = (
                    data[:KEPT_BYTES],
                    f"found a row of at least {place.size} bytes, the limit is {self._limit}",
                )
            text = key if shape.subject is None else as_text(subject)
            found[key] = Row(place.order, key, place.digest, text, data, error)
        return found
