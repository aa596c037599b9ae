"""Names in SQL, and what is said of columns and indexes, whatever database they are in."""

import difflib
import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)


def quoted(name: str) -> str:
    """Quote one identifier."""
    return '"' + name.replace('"', '""') + '"'


def quoted_table(name: str) -> str:
    """Quote a table's name, with its schema where it has one."""
    return ".".join(quoted(part) for part in name.split("."))


def no_column(table: str, column: str, columns: Sequence[str]) -> str:
    """Say which columns there are instead."""
    close = difflib.get_close_matches(column, columns, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"table {table} has no column {column!r}; it has {', '.join(columns)}{guess}"


def suggest_index(table: str, order: str, key: str, *, named: bool = False) -> None:
    """Say which index to make; with `named`, it needs a name."""
    columns = ", ".join(dict.fromkeys((quoted(order), quoted(key))))
    name = quoted("_".join(dict.fromkeys((table.replace(".", "_"), order, key)))) + " " if named else ""
    logger.warning(
        "table %s has no index that begins with %r, so that each poll reads all of it: CREATE INDEX %sON %s (%s)",
        table,
        order,
        name,
        quoted_table(table),
        columns,
    )
