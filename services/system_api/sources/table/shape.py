"""What the catalogue says of a table, checked against what the settings say."""

import difflib
import logging
from collections.abc import Sequence

import asyncpg

from services.system_api.sources.table import statements
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.statements import Shape
from shared.errors import SettingsError

logger = logging.getLogger(__name__)


async def shape_of(connection: asyncpg.Connection, options: TableSourceOptions, *, standby: bool) -> Shape:
    """Look the table up, and check the settings against it.

    Raises:
        SettingsError: names the setting, the table and what it has.
    """
    if standby and options.overlap == 0:
        raise SettingsError(
            "url: this server is a standby, which does not know the open transactions of its primary:"
            " name the primary, or set `overlap`"
        )
    table = options.table
    found = await connection.fetch(statements.COLUMNS, statements.quoted_table(table))
    if not found:
        raise SettingsError(f"table: there is no table {table!r}, or the account may not see it")
    columns = {row["attname"]: row for row in found}
    names = {"key": options.key, "changed": options.changed, "subject": options.subject}
    for setting, column in [*names.items(), *(("columns", column) for column in options.columns or ())]:
        if column is not None and column not in columns:
            raise SettingsError(f"{setting}: {_no_column(table, column, list(columns))}")
    order = options.changed or options.key
    fault = statements.order_fault(order, columns[order]["type"], changed=options.changed is not None)
    if fault is not None:
        raise SettingsError(f"{'key' if options.changed is None else 'changed'}: table {table}: {fault}")
    _advise(options, columns[order]["indexed"], columns[order]["kind"])
    return Shape(
        table=table,
        key=options.key,
        key_type=columns[options.key]["type"],
        changed=options.changed,
        changed_type=None if options.changed is None else columns[order]["type"],
        subject=options.subject or options.key,
        columns=options.columns,
        sequence=columns[options.key]["sequence"],
        versioned=columns[options.key]["kind"] == "r",
        complete=columns[options.key]["attnotnull"] and columns[order]["attnotnull"],
    )


def _no_column(table: str, column: str, columns: Sequence[str]) -> str:
    close = difflib.get_close_matches(column, columns, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ""
    return f"table {table} has no column {column!r}; it has {', '.join(columns)}{guess}"


def _advise(options: TableSourceOptions, indexed: bool, kind: str) -> None:  # noqa: FBT001 -- catalogue's own
    if indexed or kind not in {"r", "p"}:
        return
    columns = ", ".join(
        dict.fromkeys(statements.quoted(name) for name in (options.changed or options.key, options.key))
    )
    logger.warning(
        "table %s has no index that begins with %r, so that each poll reads all of it: CREATE INDEX ON %s (%s)",
        options.table,
        options.changed or options.key,
        statements.quoted_table(options.table),
        columns,
    )
