"""The shape of a table in PostgreSQL: the columns that matter, and by what its rows are ordered."""

from dataclasses import dataclass

from services.system_api.sources.table.sql import coalesced, quoted
from services.system_api.sources.table.time_scale import (
    DATE_SPREAD,
    Days,
    Microseconds,
    TimeScale,
    TimeUnit,
    numbers,
)

INTEGERS = frozenset({"smallint", "integer", "bigint"})
_UNORDERED = ("diff", "outbox", "replication")
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
    "date": "date",
    "bigint": "bigint",
    "integer": "bigint",
    "double precision": "float8",
}
NUMBERS = ("bigint", "float8")
"""Types of times that are numbers since 1970."""
_EXPECTED_TIMES = "timestamp, timestamptz, date, or a number since 1970 as integer, bigint or double precision"
_IN_TUPLES = frozenset({"timestamptz", "timestamp", "date"})
"""Types whose values are passed as the server counts them, in a tuple of one: see `connection.connect`."""


@dataclass(frozen=True, slots=True)
class Key:
    """One column of the key."""

    name: str
    cast: str
    """Its type, for a cast."""
    base: str = ""
    """Its type without a length, of a domain the one beneath."""


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
    times: tuple[str, ...]
    """The columns of times: the first that is not NULL orders the rows. Empty: they are ordered by the key."""
    order_type: str
    """The type of the order column, for a cast; for rows without an order, the mode of the settings."""
    time_zone: str | None
    """Time zone of `times` if these have none."""
    subject: str | None
    """The column of subjects; None: the key."""
    columns: tuple[str, ...] | None
    sequence: Sequence | None
    nullable: tuple[str, ...]
    """Those of the key that may be NULL."""
    versioned: bool
    """Whether rows have an `xmin`; rows of views do not."""
    published: str | None = None
    """The column of an outbox that marks rows as published; None: they are deleted."""
    published_type: str | None = None
    timeless: bool = False
    """Whether a row may be without a time."""
    time_unit: TimeUnit | None = None
    """What numbers in `times` count."""
    named: bool = True
    """Whether it is a table or a view, which has a name in the catalog, and no query."""

    @property
    def by_time(self) -> bool:
        """Whether rows are ordered by a time, and not by their key."""
        return bool(self.times)

    @property
    def order_column(self) -> str:
        """The column that rows are ordered by, or several, for errors."""
        return ", ".join(self.times or (self.keys[0].name,))

    @property
    def order(self) -> str:
        """The expression that rows are ordered by."""
        return coalesced([f"t.{quoted(name)}" for name in self.times or (self.keys[0].name,)])

    @property
    def scale(self) -> TimeScale:
        """What the order values of times are."""
        if self.time_unit is not None:
            return numbers(self.time_unit, floating=self.order_type == "float8")
        return Days() if self.order_type == "date" else Microseconds()

    @property
    def in_tuples(self) -> bool:
        """Whether order values are passed to the server in tuples."""
        return self.order_type in _IN_TUPLES

    @property
    def local(self) -> bool:
        """Whether the times are those of a zone, which is not part of them."""
        return self.order_type == "timestamp" or (self.order_type == "date" and self.time_zone is not None)

    @property
    def spread(self) -> float:
        """Seconds by which the times of different places may differ at one moment."""
        return DATE_SPREAD if self.order_type == "date" and self.time_zone is None else 0.0

    @property
    def key_columns(self) -> list[str]:
        """The expressions of the key's columns."""
        return [f"t.{quoted(key.name)}" for key in self.keys]

    @property
    def nullable_columns(self) -> list[str]:
        """The expressions that may be NULL and must not."""
        return [*([self.order] if self.timeless else []), *(f"t.{quoted(name)}" for name in self.nullable)]

    @property
    def nullable_names(self) -> list[str]:
        """What `nullable_columns` are, for errors."""
        return [*([self.order_column] if self.timeless else []), *self.nullable]

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
    if by_time and type_ == "real":
        return f"column {column!r} is real, which holds a time of today to within two minutes; make it double precision"
    if by_time:
        return f"column {column!r} is {type_}; expected {_EXPECTED_TIMES}"
    return (
        f"column {column!r} is {type_}; set `updated_at_column`, or a key that is an integer and grows, or `mode: diff`"
        " for a small table"
    )
