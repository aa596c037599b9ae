"""Migrates the database to the newest revision.

Alembic's revisions are in `versions/`, in the wheel as well. All missing revisions run in one transaction, so a
database has all of an upgrade or nothing of it. A database that has the newest one needs no Alembic.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions

_PRESENT = "SELECT version_num FROM trelay.alembic_version"
_NOT_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError, asyncpg.InsufficientPrivilegeError)


async def migrate(options: DatabaseOptions) -> str:
    """Migrate to the newest revision, and return its name.

    Of replicas that start at the same time, one migrates and the others wait. A database that a newer release has
    migrated stays as it is: its tables work for this release as well, so a deployment can be rolled.

    Raises:
        Unavailable: the server does not answer.
        Unauthorized: the role may not log in, or may not create what is missing.
    """
    newest = await asyncio.to_thread(newest_revision)
    if await _present(options) == [newest]:
        return newest
    upgrade = await asyncio.to_thread(_upgrade)
    return await upgrade(options)


def newest_revision() -> str:
    """Return the name of the newest revision: `011` for `v011_several_connections.py`."""
    names = (Path(__file__).parent / "versions").glob("v*.py")
    return max(name.stem for name in names).partition("_")[0].removeprefix("v")


async def _present(options: DatabaseOptions) -> list[str]:
    """Return the revisions that the database has; none before the first one."""
    with database_errors(options.address):
        connection = await open_connection(connect_arguments(options, "migrations"))
        try:
            return [row[0] for row in await connection.fetch(_PRESENT)]
        except _NOT_THERE:
            return []
        finally:
            await connection.close()


def _upgrade() -> Callable[[DatabaseOptions], Awaitable[str]]:
    alembic = logging.getLogger("alembic")
    if alembic.level == logging.NOTSET:
        # Alembic logs its plugins when it is imported, and its plans; `upgrade` logs what has changed.
        alembic.setLevel(logging.WARNING)
    from shared.database.migrations.upgrading import upgrade  # noqa: PLC0415 -- Alembic takes long to import

    return upgrade
