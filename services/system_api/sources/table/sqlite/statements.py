"""The SQL statements for a table in SQLite.

Every column is quoted and qualified: SQLite takes a quoted name without a table for text if there is no such column.
"""

from collections.abc import Sequence
from typing import Any

from services.system_api.sources.table.keys import decoded
from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.sql import coalesced, identifiers, quoted, quoted_table
from services.system_api.sources.table.sqlite.shape import SqliteShape
from services.system_api.sources.table.sqlite.values import NAMES, Value
from services.system_api.sources.table.time_scale import float_of


class Statements:
    """The statements for one shape. Rows are returned as order value, key columns, subject, columns."""

    def __init__(self, shape: SqliteShape, published: str | None = None) -> None:
        """`published` is the column of an outbox that marks rows as published."""
        self._shape = shape
        self._table_name = quoted_table(shape.table)
        self._table = f"{self._table_name} t"
        self._order = coalesced([column(name) for name in shape.times or shape.keys[:1]])
        keys = [column(name) for name in shape.keys]
        self._ties = keys if not shape.times else [_as_text(key) for key in keys]
        self._subject = "NULL" if shape.subject is None else column(shape.subject)
        self._columns = ", ".join(column(name) for name in shape.columns)
        filled = "".join(f" AND {key} IS NOT NULL" for key in keys)
        # SQLite stores a type with each value, and sorts all integers before all text.
        typed = "1" if shape.kind is None else f"typeof({self._order}) IN ({NAMES[shape.kind]})"
        unpublished = "" if published is None else f" AND {_not_published(column(published))}"
        self._placed = f"{typed}{filled}{unpublished}"
        self._published = published

    def exists(self) -> str:
        """Return a statement that fails if there is no table."""
        return f"SELECT 1 FROM {self._table} LIMIT 0"  # noqa: S608 -- every name is quoted

    def highest(self) -> str:
        """Return the statement for the highest order value."""
        return (
            f"SELECT {self._order} FROM {self._table} WHERE {self._placed}"  # noqa: S608 -- every name is quoted
            f" ORDER BY {self._order} DESC LIMIT 1"
        )

    def assigned(self) -> tuple[str, list[Value]]:
        """Return the statement for the highest key that SQLite has assigned, and its arguments."""
        *schemas, _ = map(quoted, identifiers(self._shape.table))
        schema = schemas[0] if schemas else "main"
        return f"SELECT seq FROM {schema}.sqlite_sequence WHERE name = ? COLLATE NOCASE", [self._shape.counted]  # noqa: S608

    def count_between(self, since: Any, until: Any) -> tuple[str, list[Value]]:
        """Return the statement that counts rows within two order values, the second excluded, and its arguments."""
        conditions = f"{self._placed} AND {self._order} >= ? AND {self._order} < ?"
        statement = f"SELECT count(*) FROM {self._table} WHERE {conditions}"  # noqa: S608 -- every name is quoted
        return statement, [self._value(since), self._value(until)]

    def rows(self, limit: int, position: Position[Any] | None, below: Value) -> tuple[str, list[Value]]:
        """Return the statement for the rows above a position and below an order value, and its arguments."""
        return self._above(f"{self._subject}, {self._columns}", limit, position, below)

    def positions(self, limit: int, position: Position[Any] | None, below: Value) -> tuple[str, list[Value]]:
        """Return the same without the contents of the rows."""
        return self._above("", limit, position, below)

    def following(self, place: Sequence[Value] | None, *, contents: bool) -> str:
        """Return the statement for the rows after a place: the values of its key are the arguments, and a limit."""
        keys, marks = ", ".join(self._ties), ", ".join("?" for _ in self._ties)
        above = "" if place is None else f" AND ({keys}) > ({marks})"
        selected = f", {self._subject}, {self._columns}" if contents else ""
        return (
            f"SELECT {self._order}, {keys}{selected} FROM {self._table} WHERE {self._placed}{above}"  # noqa: S608
            f" ORDER BY {keys} LIMIT ?"
        )

    def one_row(self) -> str:
        """Return the statement for the row at a place: arguments as in `positions`."""
        ties = "".join(f" AND {tie} = ?" for tie in self._ties)
        selected = ", ".join([self._order, *self._ties, self._subject, self._columns])
        return f"SELECT {selected} FROM {self._table} WHERE {self._order} = ?{ties} LIMIT 1"  # noqa: S608

    def one_value(self, name: str | None) -> str:
        """Return the statement for a column of the row at a place, or for its subject: arguments as in `positions`."""
        expression = self._subject if name is None else column(name)
        ties = "".join(f" AND {tie} = ?" for tie in self._ties)
        return f"SELECT {expression} FROM {self._table} WHERE {self._order} = ?{ties} LIMIT 1"  # noqa: S608

    def remove(self) -> str:
        """Return the statement that removes a row: the arguments are the values of its key as text."""
        # A column that is not qualified: an UPDATE and a DELETE have no alias in older versions.
        if self._published is None:
            return f"DELETE FROM {self._table_name} WHERE {self._has_key()}"  # noqa: S608 -- every name is quoted
        return (
            f"UPDATE {self._table_name} SET {quoted(self._published)} = strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"  # noqa: S608
            f" WHERE {self._has_key()} AND {_not_published(quoted(self._published))}"
        )

    def exists_with_key(self) -> str:
        """Return the statement that returns a row if there is one with a key: arguments as in `remove`."""
        return f"SELECT 1 FROM {self._table_name} WHERE {self._has_key()}"  # noqa: S608 -- every name is quoted

    def remaining(self) -> str:
        """Return the same for a row that is not published."""
        unpublished = "" if self._published is None else f" AND {_not_published(quoted(self._published))}"
        return f"{self.exists_with_key()}{unpublished}"

    def _has_key(self) -> str:
        # A column with an affinity compares with text by value, and by its index.
        return " AND ".join(f"{quoted(name)} = ?" for name in self._shape.keys)

    def null_key_rows(self) -> str:
        """Return the statement for type of the order value, the key column that is NULL, and columns."""
        missing = " ".join(f"WHEN {column(name)} IS NULL THEN {_literal(name)}" for name in self._shape.keys)
        return f"""
            SELECT typeof({self._order}), CASE {missing} END, {self._columns} FROM {self._table}
            WHERE NOT ({self._placed}) LIMIT ?
        """  # noqa: S608 -- every name is quoted

    def _above(
        self, contents: str, limit: int, position: Position[Any] | None, below: Value
    ) -> tuple[str, list[Value]]:
        conditions, arguments = [self._placed], list[Value]()
        if position is not None and position.key is None:
            conditions.append(f"{self._order} >= ?")
            arguments.append(self._value(position.order))
        elif position is not None and not self._shape.times:
            conditions.append(f"{self._order} > ?")
            arguments.append(position.order)
        elif position is not None and position.key is not None:
            # The first condition alone lets SQLite use the index.
            marks = ", ".join("?" for _ in self._ties)
            conditions.append(f"{self._order} >= ?")
            conditions.append(f"({self._order}, {', '.join(self._ties)}) > (?, {marks})")
            reached = self._value(position.order)
            arguments += [reached, reached, *decoded(position.key, len(self._ties))]
        if below is not None:
            conditions.append(f"{self._order} < ?")
            arguments.append(self._value(below))
        selected = [self._order, *self._ties, *([contents] if contents else [])]
        statement = f"""
            SELECT {", ".join(selected)} FROM {self._table}
            WHERE {" AND ".join(conditions)}
            ORDER BY {", ".join(dict.fromkeys([self._order, *self._ties]))}
            LIMIT ?
        """  # noqa: S608 -- every name is quoted
        return statement, [*arguments, limit]

    def _value(self, order: Any) -> Value:
        """Return an order value as the table has it."""
        return float_of(order) if self._shape.kind is float else order


def column(name: str) -> str:
    """Return the expression for a column."""
    return f"t.{quoted(name)}"


def _not_published(mark: str) -> str:
    """Return the condition that a column, of a time or a boolean, does not mark its row as published.

    A boolean is a number, or a text by the type of its column: `DEFAULT 0` is '0' in a column of type TEXT.
    """
    return f"coalesce(lower(CAST({mark} AS TEXT)), '') IN ('', '0', '0.0', 'false')"


def _as_text(key: str) -> str:
    """Return an expression for the key as text: keys of different types in one column would not compare by value."""
    return f"CASE typeof({key}) WHEN 'blob' THEN lower(hex({key})) ELSE CAST({key} AS TEXT) END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
