"""The shape of a table in PostgreSQL: the columns that matter, and by what its rows are ordered."""

from dataclasses import dataclass

_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_TIMES = {"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp"}


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table that matter, from the catalog."""

    table: str
    key: str
    key_cast: str
    """The type of the key, for a cast."""
    updated_at_column: str | None
    updated_at_type: str | None
    time_zone: str
    """Time zone of `updated_at_column` if that column has none."""
    subject: str
    columns: tuple[str, ...] | None
    sequence: str | None
    """The sequence of the key, quoted; None if it is unknown or may not be read."""
    nullable: tuple[str, ...]
    """Those of the order column and the key that may be NULL."""
    versioned: bool
    """Whether rows have an `xmin`; rows of views do not."""

    @property
    def order(self) -> str:
        """The column that rows are ordered by."""
        return self.updated_at_column or self.key

    @property
    def order_type(self) -> str:
        """The type of the order column, for a cast."""
        return _TIMES[self.updated_at_type] if self.updated_at_type is not None else "bigint"

    @property
    def mode(self) -> str:
        """What must not change under a checkpoint."""
        return f"by {self.order} ({self.order_type})"


def order_error(column: str, type_: str, *, by_time: bool) -> str | None:
    """Return why rows cannot be ordered by a column of this type; None if they can."""
    if by_time:
        return None if type_ in _TIMES else f"column {column!r} is {type_}; expected timestamp or timestamptz"
    if type_ in _INTEGERS:
        return None
    return f"column {column!r} is {type_}; set `updated_at_column`, or a key that is an integer and grows"
