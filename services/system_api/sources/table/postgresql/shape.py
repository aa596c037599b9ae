"""The shape of a table in PostgreSQL: the columns that matter, and by what its rows are ordered."""

from dataclasses import dataclass

from services.system_api.sources.table.sql import quoted

INTEGERS = frozenset({"smallint", "integer", "bigint"})
_UNORDERED = ("diff", "outbox")
PUBLISHED = {
    "timestamp with time zone": "now()",
    "timestamp without time zone": "now()",
    "date": "now()",
    "boolean": "true",
}
"""Types of a column that marks rows as published, and its value then."""
_TIMES = {
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the key."""

    name: str
    cast: str
    """Its type, for a cast."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """What gives the keys."""

    oid: int
    name: str
    """Quoted, with its schema."""
    readable: bool
    """Whether the account may read its value."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table that matter, from the catalog."""

    table: str
    """As in the settings."""
    relation: str
    """Quoted, with its schema."""
    keys: tuple[Key, ...]
    updated_at_column: str | None
    order_type: str
    """The type of the order column, for a cast; for rows without an order, `diff` or `outbox`."""
    time_zone: str | None
    """Time zone of `updated_at_column` if that column has none."""
    subject: str | None
    """The column of subjects; None: the key."""
    columns: tuple[str, ...] | None
    sequence: Sequence | None
    nullable: tuple[str, ...]
    """Those of the order column and the key that may be NULL."""
    versioned: bool
    """Whether rows have an `xmin`; rows of views do not."""
    published: str | None = None
    """The column of an outbox that marks rows as published; None: they are deleted."""
    published_type: str | None = None

    @property
    def by_time(self) -> bool:
        """Whether rows are ordered by a time, and not by their key."""
        return self.updated_at_column is not None

    @property
    def order_column(self) -> str:
        """The column that rows are ordered by."""
        return self.updated_at_column or self.keys[0].name

    @property
    def order(self) -> str:
        """The expression that rows are ordered by."""
        return f"t.{quoted(self.order_column)}"

    @property
    def key_columns(self) -> list[str]:
        """The expressions of the key's columns."""
        return [f"t.{quoted(key.name)}" for key in self.keys]

    @property
    def nullable_columns(self) -> list[str]:
        """The expressions of the columns that may be NULL and must not."""
        return [f"t.{quoted(name)}" for name in self.nullable]

    @property
    def mode(self) -> str:
        """What must not change under a checkpoint."""
        if self.order_type in _UNORDERED:
            return f"{self.order_type} by {', '.join(key.name for key in self.keys)}"
        keys = "".join(f", {key.name}" for key in self.keys) if len(self.keys) > 1 else ""
        return f"by {self.order_column}{keys} ({self.order_type})"


def order_type(type_: str, *, by_time: bool) -> str | None:
    """Return how rows are ordered by a column of this type; None if they cannot be."""
    if by_time:
        return _TIMES.get(type_)
    return "bigint" if type_ in INTEGERS else None


def order_error(column: str, type_: str, *, by_time: bool) -> str:
    """Return why rows cannot be ordered by a column of this type."""
    if by_time:
        return f"column {column!r} is {type_}; expected timestamp or timestamptz"
    return (
        f"column {column!r} is {type_}; set `updated_at_column`, or a key that is an integer and grows, or `mode: diff`"
        " for a small table"
    )
