"""From changes of a table to the rows that become events. No I/O."""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from services.system_api.sources.table import keys
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.replication.pgoutput import MISSING, Relation, Value, Values
from services.system_api.sources.table.postgresql.replication.transactions import Change
from shared.errors import SettingsError

_BOOLEAN = 16
_PADDED = 1042
"""`character(n)`, whose text in the log is padded with blanks."""
_ADDRESS = 869
"""`inet`, whose text in the log has no prefix length where that is the whole address."""

Kind = Literal["state", "deleted", "truncated"]


class ChangedRow(NamedTuple):
    """What becomes one event."""

    kind: Kind
    key: str | None
    """None: it is of all rows."""
    subject: str | None
    time: int
    version: str
    xid: int
    relation: Relation | None = None
    columns: tuple[int, ...] = ()
    """The columns of its data, by number."""
    values: Values = ()
    error: str | None = None


class _Numbers(NamedTuple):
    """The columns that the settings name, by number."""

    key: tuple[int, ...]
    subject: int | None
    """None: it is the key."""
    state: tuple[int, ...]
    """Those of the data of a row that is there."""


class ChangedRows:
    """Makes the rows of one table."""

    def __init__(self, options: TableSourceOptions, cut: int) -> None:
        """A message of more than `cut` bytes is not complete."""
        self._options = options
        self._keys = options.keys
        self._cut = cut
        self._known: tuple[Relation, _Numbers] | None = None
        self.bases: dict[int, int] = {}
        """The types beneath domains, and other types themselves, by their oids."""

    def unknown(self, changes: Collection[Change]) -> set[int]:
        """Return the types of these changes that `bases` does not have."""
        # By identity: consecutive changes share their definition, and to hash one takes long.
        relations = {id(change.relation): change.relation for change in changes}.values()
        types = {column.type_oid for each in relations if each is not None for column in each.columns}
        return types - self.bases.keys()

    def of(self, change: Change, codec: str = "utf-8") -> Iterator[ChangedRow]:
        """Return the rows of a change: two if an update has changed the key. `codec` is the encoding of texts.

        Raises:
            SettingsError: the table has a column no more that the settings name.
        """
        version = f"{change.place.lsn:x}.{change.place.number}"
        relation = change.relation
        if relation is None:
            yield ChangedRow("truncated", None, self._options.table, change.time, version, change.xid)
            return
        if change.kind == "delete":
            assert change.old is not None
            yield self._row("deleted", change, relation, change.old, version, codec)
            return
        assert change.new is not None
        state = self._row("state", change, relation, change.new, version, codec)
        if change.old is not None:
            before = self._row("deleted", change, relation, change.old, f"{version}d", codec)
            if before.error is None and before.key != state.key:
                yield before
        yield state

    def _row(
        self, kind: Kind, change: Change, relation: Relation, values: Values, version: str, codec: str
    ) -> ChangedRow:
        numbers, options = self._numbers_of(relation), self._options
        key = [self._text(relation, number, values, codec) for number in numbers.key]
        error = None
        if change.size > self._cut:
            error = f"found a change of {change.size} bytes in the log, the limit of a row is {options.row_limit}"
        elif None in key:
            missing = key.index(None)
            error = f"column {self._keys[missing]!r} is {_lack(values[numbers.key[missing]])}"
        text = keys.encoded([value or "" for value in key])
        subject: str | None = text
        if numbers.subject is not None:
            subject = self._text(relation, numbers.subject, values, codec)
            if error is None and values[numbers.subject] is MISSING:
                error = f"column {options.subject!r} is {_lack(MISSING)}"
        wanted = numbers.key if kind == "deleted" else numbers.state
        return ChangedRow(kind, text, subject, change.time, version, change.xid, relation, wanted, values, error)

    def _text(self, relation: Relation, number: int, values: Values, codec: str) -> str | None:
        type_ = relation.columns[number].type_oid
        return text_of(self.bases.get(type_, type_), values[number], codec)

    def _numbers_of(self, relation: Relation) -> "_Numbers":
        # By identity first: to compare definitions takes as long as to make a row.
        if self._known is None or (self._known[0] is not relation and self._known[0] != relation):
            numbers = {column.name: number for number, column in enumerate(relation.columns)}
            for setting, name in self._options.named_columns:
                if name not in numbers:
                    raise SettingsError(
                        f"{setting}: table {self._options.table} had no column {name!r} in the log, or the publication"
                        f" leaves it out; it had {', '.join(numbers)}"
                    )
            options = self._options
            self._known = (
                relation,
                _Numbers(
                    key=tuple(numbers[name] for name in self._keys),
                    subject=None if options.subject is None else numbers[options.subject],
                    state=tuple(numbers[name] for name in options.columns or numbers),
                ),
            )
        return self._known[1]


def _lack(value: object) -> str:
    return "not in the log: set REPLICA IDENTITY FULL" if value is MISSING else "NULL"


def text_of(type_: int, value: Value, codec: str = "utf-8") -> str | None:
    r"""Return a value as the text that a cast makes of it; None if it is NULL, or missing. `type_` is no domain.

    A byte that the encoding does not have becomes `\xff`: the row is put aside for it when its data is made.
    """
    if value is None or value is MISSING:
        return None
    text = value.decode(codec, errors="backslashreplace")
    if type_ == _BOOLEAN:
        return "true" if text == "t" else "false"
    if type_ == _ADDRESS and "/" not in text:
        return f"{text}/{128 if ':' in text else 32}"
    return text.rstrip(" ") if type_ == _PADDED else text


def wanted_of(rows: Sequence[ChangedRow]) -> list[tuple[Relation, tuple[int, ...], Values]]:
    """Return what is rendered of rows that have no error."""
    return [(row.relation, row.columns, row.values) for row in rows if row.relation is not None and row.error is None]
