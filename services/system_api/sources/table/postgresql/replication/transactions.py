"""From messages to changes of one table, each with its place in the log. No I/O.

Transactions are in the order of their commits, and the changes of a table within one are numbered from 1: a place is
the same whenever the log is read again.
"""

from typing import Literal, NamedTuple

from services.system_api.sources.table.postgresql.replication.pgoutput import (
    MISSING,
    Begin,
    Commit,
    Relation,
    RowChange,
    Truncate,
    Values,
    parse,
)
from shared.errors import Malformed


class Place(NamedTuple):
    """A place in the log; places sort in the order of the changes."""

    lsn: int
    """Of the commit. With number 0, of the log: everything that was committed before."""
    number: int
    """Of the change in its transaction."""


class Diverged(Exception):
    """The log lacks a transaction that was read from it."""


class LastChange(NamedTuple):
    """The last change that was published."""

    lsn: int
    number: int
    xid: int
    time: int
    """As of `Change`: another history may have the same id in the same place."""

    @property
    def place(self) -> Place:
        """Where it is."""
        return Place(self.lsn, self.number)


class Change(NamedTuple):
    """One change of the table."""

    place: Place
    xid: int
    time: int
    """When it was committed, in microseconds since 2000."""
    kind: Literal["insert", "update", "delete", "truncate"]
    relation: Relation | None
    """The definition of the table at that time; None for a truncation."""
    old: Values | None = None
    """The row before the change, as far as it is known."""
    new: Values | None = None
    """The row after it. A value is `MISSING` if neither the message nor the old row has it."""
    size: int = 0
    """The size of the message in bytes."""


class Transactions:
    """Reads the messages of one slot in order."""

    def __init__(self, schema: str, name: str, codec: str = "utf-8", expected: LastChange | None = None) -> None:
        """Changes of tables that had another name at the time are left out. `codec` is the encoding of names.

        `expected` was published from this log: its transaction must be among those that follow.
        """
        self._name = (schema, name)
        self._codec = codec
        self._begin: Begin | None = None
        self._relations: dict[int, Relation] = {}
        self._number = 0
        self._expected = expected
        self.reached: Place | None = None
        """The place up to which everything was returned."""

    def feed(self, message: bytes, size: int) -> Change | None:
        """Take the next message, or its beginning; return the change that it is. `size` is that of the whole message.

        Raises:
            Malformed: it is not a message of pgoutput, or comes out of order.
            Diverged: as `check_expected`.
        """
        found = parse(message, self._codec)
        match found:
            case RowChange():
                relation = self._relations.get(found.relation)
                return None if relation is None else self._row(found, relation, size)
            case Begin():
                self._begin, self._number = found, 0
                if self._expected is not None and found.lsn >= self._expected.lsn:
                    self._meet_expected(found)
            case Commit():
                self._begin, self.reached = None, Place(found.end_lsn, 0)
            case Relation() if (found.schema, found.name) == self._name:
                self._relations[found.oid] = found
            case Relation():
                self._relations.pop(found.oid, None)
            case Truncate() if self._relations.keys() & set(found.relations):
                begin, place = self._next()
                return Change(place, begin.xid, begin.time, "truncate", None, size=size)
            case _:
                pass
        return None

    def check_expected(self) -> None:
        """Check, at the end of the log, that it had the expected transaction.

        Raises:
            Diverged: it had not, so it is the log of another history of the server.
        """
        if self._expected is not None:
            raise Diverged

    def _meet_expected(self, begin: Begin) -> None:
        expected = self._expected
        if expected is not None and (begin.lsn, begin.xid, begin.time) == (expected.lsn, expected.xid, expected.time):
            self._expected = None
        self.check_expected()

    def _row(self, found: RowChange, relation: Relation, size: int) -> Change:
        begin, place = self._next()
        old, new = found.old, found.new
        if old is not None and not found.old_is_full:
            pairs = zip(relation.columns, old, strict=True)
            old = [value if column.identifies else MISSING for column, value in pairs]
        if new is not None and old is not None:
            new = [before if value is MISSING else value for value, before in zip(new, old, strict=True)]
        return Change(place, begin.xid, begin.time, found.kind, relation, old, new, size)

    def _next(self) -> tuple[Begin, Place]:
        if self._begin is None:
            raise Malformed("the log has a change outside a transaction")
        self._number += 1
        self.reached = Place(self._begin.lsn, self._number)
        return self._begin, self.reached
