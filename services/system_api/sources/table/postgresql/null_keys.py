"""Searches for rows without a key or order value in PostgreSQL."""

from collections.abc import Sequence

import asyncpg

from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from shared.errors import Unavailable


async def read_null_key_rows(keeper: SessionKeeper, known: frozenset[str], timeout: float) -> Sequence[NullKeyRow]:
    """Return rows without a key or order value; see `TableReader`."""
    with keeper.errors():
        session = await keeper.session()
        if not session.shape.nullable_columns:
            return ()
        statement = statements.null_key_rows(session.shape)
        try:
            found = await session.connection.fetch(statement, list(known), LIMIT + 1, timeout=timeout)
        except asyncpg.PostgresError as exc:
            if not is_row_error(exc):
                raise
            raise Unavailable(f"{keeper.place}: {exc.args[0]}") from exc
        return [NullKeyRow(*row) for row in found]
