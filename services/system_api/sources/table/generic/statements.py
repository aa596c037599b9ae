"""The statements that read a table, for SQLAlchemy to compile. Each reads; none writes."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, column, func, or_, select, table
from sqlalchemy.sql.expression import TableClause

from services.system_api.sources.table.generic.dialects import Dialect
from services.system_api.sources.table.generic.shape import GenericShape
from services.system_api.sources.table.generic.times import text_of
from services.system_api.sources.table.generic.values import key_values
from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.sql import identifiers


class Statements:
    """The statements of one table."""

    def __init__(self, relation: str, shape: GenericShape, dialect: Dialect) -> None:
        self._shape = shape
        self._dialect = dialect
        self._table = table_of(relation)
        self._keys: list[ColumnElement[Any]] = [column(name) for name in shape.keys]
        times: list[ColumnElement[Any]] = [column(name) for name in shape.times]
        self._time: ColumnElement[Any] | None = None
        if times:
            self._time = times[0] if len(times) == 1 else func.coalesce(*times)

    def now(self) -> Select[Any]:
        """Select the server's clock in UTC."""
        return select(self._dialect.now)

    def rows(self, limit: int, position: Position[int] | None, below: int | None) -> Select[Any]:
        """Select rows in order, of those above the position: order value, key, subject if it is set, and columns."""
        order = self._order
        conditions = [self._present, *self._above(position)]
        if below is not None:
            conditions.append(order < self._value(below))
        return self._selected().where(*conditions).order_by(*self._order_by).limit(limit)

    def highest(self) -> Select[Any]:
        """Select the highest key."""
        return select(func.max(self._keys[0])).select_from(self._table)

    def null_key_rows(self, limit: int) -> Select[Any]:
        """Select the rows without a key or an order value, as `rows` does."""
        missing = or_(*(each.is_(None) for each in (*self._keys, self._order)))
        return self._selected().where(missing).limit(limit)

    def count_between(self, since: int, until: int) -> Select[Any]:
        """Select how many rows have a time within [since, until)."""
        order = self._order
        within = and_(order >= self._value(since), order < self._value(until))
        return select(func.count()).select_from(self._table).where(within)

    def _selected(self) -> Select[Any]:
        shape = self._shape
        subject: list[ColumnElement[Any]] = [] if shape.subject is None else [column(shape.subject)]
        # Labels, because a column may be selected twice: as the key, and as data.
        chosen = [self._shown(self._order), *self._keys, *subject, *(column(name) for name in shape.columns)]
        return select(*(each.label(f"c{number}") for number, each in enumerate(chosen))).select_from(self._table)

    @property
    def _order(self) -> ColumnElement[Any]:
        return self._keys[0] if self._time is None else self._time

    @property
    def _order_by(self) -> Sequence[ColumnElement[Any]]:
        return self._keys if self._time is None else (self._time, *self._keys)

    @property
    def _present(self) -> ColumnElement[bool]:
        return and_(*(each.is_not(None) for each in self._order_by))

    def _above(self, position: Position[int] | None) -> list[ColumnElement[bool]]:
        if position is None:
            return []
        order, value = self._order, self._value(position.order)
        if position.key is None:
            return [order >= value]
        if self._time is None:
            return [order > value]
        keys = key_values(position.key, self._shape.numbers)
        # The first condition is for the index.
        return [order >= value, or_(order > self._value(position.order), _after(self._keys, keys))]

    def _shown(self, order: ColumnElement[Any]) -> ColumnElement[Any]:
        kind = self._shape.time_kind
        return order if kind is None else self._dialect.as_text(order, kind)

    def _value(self, order: int) -> Any:
        kind = self._shape.time_kind
        return order if kind is None else self._dialect.from_text(text_of(order, self._dialect.digits), kind)


def table_of(relation: str) -> TableClause:
    """Return a table by its name, with its schema if it has one."""
    *schema, name = identifiers(relation)
    return table(name, schema=schema[0] if schema else None)


def _after(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that columns are above values, compared one after the other."""
    above: ColumnElement[bool] = columns[0] > values[0]
    if len(columns) == 1:
        return above
    return or_(above, and_(columns[0] == values[0], _after(columns[1:], values[1:])))
