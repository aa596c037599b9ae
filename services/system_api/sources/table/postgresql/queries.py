"""Reads the shape of a query in PostgreSQL: the server parses it, and tells the names and types of its columns.

No index and no sequence is known of a query, and its rows have no version of their own. They appear in any order, so
the settings require an overlap where rows are read in an order.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg

from services.system_api.sources.table.checking.query import NAME, subquery
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.catalog import order_type_of
from services.system_api.sources.table.postgresql.shape import Key, Shape
from services.system_api.sources.table.sql import check_columns, check_distinct, quoted
from shared.errors import SettingsError

logger = logging.getLogger(__name__)

_NAMES = {
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "bool": "boolean",
    "date": "date",
    "numeric": "numeric",
    "text": "text",
}
"""The names of types in the catalog, as the settings know them."""


async def query_shape_of(connection: asyncpg.Connection, options: TableSourceOptions) -> Shape:
    """Return the shape of the query.

    Raises:
        SettingsError: the server refuses it, or it has not the columns that the settings name.
    """
    types = await _columns(connection, options.query)
    check_columns(NAME, options.named_columns, list(types))
    extra = {"component": "source", "query": options.query[:200], "column": ", ".join(options.keys)}
    logger.info("cannot check that the key is unique; a second row with the same key is missed", extra=extra)
    orders = [{"name": name, "type": types[name], "beneath": types[name]} for name in options.order_columns]
    return Shape(
        table=NAME,
        relation=subquery(options.query),
        keys=tuple(Key(name, types[name], types[name]) for name in options.keys),
        times=options.times,
        order_type=order_type_of(options, orders) if options.ordered else options.mode,
        time_zone=options.time_zone,
        subject=options.subject,
        columns=options.columns,
        sequence=None,
        nullable=options.keys,
        versioned=False,
        timeless=bool(options.times),
        time_unit=options.time_unit,
        named=False,
    )


async def _columns(connection: asyncpg.Connection, query: str) -> Mapping[str, str]:
    """Return the type of each column."""
    with _refused():
        # Alone: what would end the subquery is an error here. Nothing is executed.
        alone = await connection.prepare(query)
        if alone.get_parameters():
            raise SettingsError("query: found a parameter, such as $1; expected none: write its value")
        # As a subquery, where only a SELECT can be. With no rows: the server checks that it writes and locks nothing.
        await connection.fetch(f"SELECT t.* FROM {subquery(query)} t LIMIT 0")  # noqa: S608 -- it is a query
    attributes = alone.get_attributes()
    check_distinct([each.name for each in attributes])
    return {each.name: _type_of(each.type) for each in attributes}


def _type_of(type_: asyncpg.types.Type) -> str:
    """Return the name of a type, for a cast."""
    if type_.kind == "array":
        return str(type_.name)
    if type_.schema == "pg_catalog" and type_.name in _NAMES:
        return _NAMES[type_.name]
    # Without a length, so that a cast does not cut values, as one to `character` does.
    return f"{quoted(type_.schema)}.{quoted(type_.name)}"


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except asyncpg.InsufficientPrivilegeError:
        raise
    except (asyncpg.SyntaxOrAccessError, asyncpg.ReadOnlySQLTransactionError, asyncpg.FeatureNotSupportedError) as exc:
        position = getattr(exc, "position", None)
        place = f" at character {position}" if position else ""
        raise SettingsError(f"query: the server refuses it{place}: {exc.args[0]}") from exc
