"""SQL identifiers, and checks and advice on columns and indexes, for all kinds of databases."""

import difflib
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_PARTS = 2
"""A schema and a table."""

Quote = Callable[[str], str]


def quoted(name: str) -> str:
    """Quote one identifier."""
    return '"' + name.replace('"', '""') + '"'


def identifiers(name: str) -> tuple[str, ...]:
    """Divide the name of a table at its dots: `shop.orders`, or in double quotes as in SQL, `"my.shop"."orders"`.

    Raises:
        ValueError: a part is empty, or there are more than a schema and a table.
    """
    parts = []
    rest: str | None = name
    while rest is not None:
        part, rest = _first_part(rest)
        parts.append(part)
    if "" in parts or len(parts) > _PARTS or "\0" in name:
        raise ValueError(
            f"found {name!r}; expected a table, or schema.table;"
            ' a name with a dot is written in double quotes: shop."price.list"'
        )
    return tuple(parts)


def _first_part(name: str) -> tuple[str, str | None]:
    """Return the first part and what follows its dot."""
    end = 0
    while name.startswith('"') and (end := name.find('"', end + 1)) > 0:
        if name[end + 1 : end + 2] == '"':
            end += 1  # a doubled quote stands for one
        elif name[end + 1 : end + 2] in {"", "."}:
            return name[1:end].replace('""', '"'), name[end + 2 :] if name[end + 1 :] else None
        else:
            break
    part, dot, rest = name.partition(".")
    return part, rest if dot else None


def coalesced(expressions: Sequence[str]) -> str:
    """Return the expression for the first that is not NULL."""
    return expressions[0] if len(expressions) == 1 else f"coalesce({', '.join(expressions)})"


def unit_error(relation: str, column: str, type_: str, *, number: bool) -> str:
    """Return the error for a `time_unit` that is missing, or that the column has no use for."""
    if number:
        return (
            f"time_unit: {relation}: column {column!r} is {type_}; set what it counts since 1970: seconds,"
            " milliseconds, microseconds or nanoseconds"
        )
    return f"time_unit: {relation}: column {column!r} is {type_}, which has no unit; remove `time_unit`"


def quoted_table(name: str, quote: Quote = quoted) -> str:
    """Quote a table's name, with its schema if it has one."""
    return ".".join(quote(part) for part in identifiers(name))


def check_columns(relation: str, named: Iterable[tuple[str, str]], columns: Sequence[str]) -> None:
    """Check that a table or a query has the columns of `named`: pairs of a setting and the column that it names.

    `relation` is what has them, for errors: the word table and its name, or the word query.

    Raises:
        SettingsError: a column is missing; the text lists the columns of the table.
    """
    for setting, column in named:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            guess = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingsError(f"{setting}: {relation} has no column {column!r}; it has {', '.join(columns)}{guess}")


def check_distinct(columns: Sequence[str]) -> None:
    """Check that no two columns of a query have the same name.

    Raises:
        SettingsError: two have.
    """
    repeated = [name for number, name in enumerate(columns) if name in columns[:number]]
    if repeated:
        raise SettingsError(f"query: found two columns {repeated[0]!r}; give one of them another name with AS")


def check_unique(table: str, key: Sequence[str], unique: Iterable[Collection[str]], quote: Quote = quoted) -> None:
    """Check that no two rows can have the same key.

    `unique` are the columns of each unique index, the primary key first.

    Raises:
        SettingsError: no unique index is within the columns of the key.
    """
    unique = list(unique)
    if any(set(columns) <= set(key) for columns in unique):
        return
    names = ", ".join(repr(name) for name in key)
    advice = f"set `key: [{', '.join(unique[0])}]`, which is unique, or " if unique else ""
    name = quote("_".join([*identifiers(table), *key]))
    create = f"CREATE UNIQUE INDEX {name} ON {quoted_table(table, quote)} ({', '.join(map(quote, key))})"
    raise SettingsError(
        f"key: table {table}: nothing keeps two rows from having the same {names}, and one of them would be missed;"
        f" {advice}make it unique: {create}"
    )


def check_view(view: str, *, selection: bool) -> None:
    """Check that a view that is read by time without an overlap is a selection from one table.

    Raises:
        SettingsError: it is not.
    """
    if not selection:
        raise SettingsError(
            f"overlap: {view} is a view of more than rows of one table: a row of it appears when the last row that it"
            " is made from is committed, and may then be below rows that were read; set the seconds that this takes at"
            " most after the commit of its time (1 where foreign keys keep the order), or `mode: diff`, which needs no"
            " order"
        )


def suggest_index(table: str, order: Sequence[str], keys: Iterable[str], *, named: bool = False) -> None:
    """Log the statement that creates the missing index; with `named`, the index has a name.

    Rows are ordered by the first column of `order` that is not NULL, and then by `keys`.
    """
    first = coalesced([quoted(column) for column in order])
    indexed = list(dict.fromkeys([f"({first})" if len(order) > 1 else first, *map(quoted, keys)]))
    name = quoted("_".join(dict.fromkeys([*identifiers(table), *order, *keys]))) + " " if named else ""
    logger.warning(
        "no index on the order column; each poll reads the whole table",
        extra={
            "component": "source",
            "table": table,
            "column": ", ".join(order),
            "suggestion": f"CREATE INDEX {name}ON {quoted_table(table)} ({', '.join(indexed)})",
        },
    )
