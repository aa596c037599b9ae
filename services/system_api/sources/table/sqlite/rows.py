"""Makes rows of the values that SQLite returns. Runs in the thread of the file."""

import sqlite3
from collections.abc import Sequence
from typing import Generic

from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.sqlite.file import LENGTH_LIMIT, is_too_large
from services.system_api.sources.table.sqlite.shape import SqliteShape
from services.system_api.sources.table.sqlite.statements import Statements
from services.system_api.sources.table.sqlite.values import Value, as_text, digest, encoded, key_of
from services.system_api.sources.table.time_scale import order_of


class Rows(Generic[Order]):
    """Makes the rows of one shape."""

    def __init__(self, shape: SqliteShape, statements: Statements, subject_name: str) -> None:
        self._shape = shape
        self._statements = statements
        self._subject_name = subject_name
        self._keys = len(shape.keys)

    def row(self, values: Sequence[Value]) -> Row[Order]:
        """Make a row of its order value, key, subject and columns."""
        shape = self._shape
        order, key, subject = values[0], self.key(values), values[self._keys + 1]
        data, error = encoded(shape.columns, values[self._keys + 2 :])
        text = key if shape.subject is None else as_text(subject)
        version = ""
        if shape.kind is None:
            version = digest(data + (text or "").encode())
        elif shape.times:
            version = digest(data)
        if shape.kind is float:
            order = order_of(float(order))  # type: ignore[arg-type] # the statement checks its type
        return Row(order, key, version, text, data, error)  # type: ignore[arg-type] # the statement checks its type

    def key(self, values: Sequence[Value]) -> str:
        """Return the key of a row."""
        return key_of(values[1 : self._keys + 1])

    def single(self, connection: sqlite3.Connection, place: Sequence[Value]) -> Row[Order] | None:
        """Read the row at a place, with an error if a value is too large; None if it was deleted meanwhile."""
        values: list[Value] = []
        error = None
        for column in (None, *self._shape.columns):
            try:
                found = connection.execute(self._statements.one_value(column), place).fetchone()
            except sqlite3.DataError as exc:
                if not is_too_large(exc):
                    raise
                error = f"column {column or self._subject_name!r} is larger than {LENGTH_LIMIT} bytes"
                values.append(None)
                continue
            if found is None:
                return None
            values.append(found[0])
        row = self.row((*place, *values))
        return row if error is None else row._replace(error=error)
