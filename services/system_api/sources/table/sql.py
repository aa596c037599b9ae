"""SQL identifiers, and checks and advice on columns and indexes, for all kinds of databases."""

import difflib
import logging
from collections.abc import Iterable, Sequence

from shared.errors import SettingsError

logger = logging.getLogger(__name__)


def quoted(name: str) -> str:
    """Quote one identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """Quote a table's name, with its schema if it has one."""
    return ".".join(quoted(part) for part in name.split("."))


def check_columns(table: str, named: Iterable[tuple[str, str]], columns: Sequence[str]) -> None:
    """Check that the table has the columns of `named`: pairs of a setting and the column that it names.

    Raises:
        SettingsError: a column is missing; the text lists the columns of the table.
    """
    for setting, column in named:
        if column not in columns:
            close = difflib.get_close_matches(column, columns, n=1)
            guess = f"; did you mean {close[0]!r}?" if close else ""
            raise SettingsError(
                f"{setting}: table {table} has no column {column!r}; it has {', '.join(columns)}{guess}"
            )


def suggest_index(table: str, order: str, key: str, *, named: bool = False) -> None:
    """Log the statement that creates the missing index; with `named`, the index has a name."""
    columns = ", ".join(dict.fromkeys((quoted(order), quoted(key))))
    name = quoted("_".join(dict.fromkeys((table.replace(".", "_"), order, key)))) + " " if named else ""
    logger.warning(
        "no index on the order column; each poll reads the whole table",
        extra={
            "component": "source",
            "table": table,
            "column": order,
            "suggestion": f"CREATE INDEX {name}ON {quoted_table(table)} ({columns})",
        },
    )
