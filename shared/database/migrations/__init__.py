"""Bringing a database's tables to the newest revision.

Alembic's revisions are in `versions/`, beside this file in the wheel too. All that are missing run in one transaction:
a database has all of an upgrade or none of it.
"""

import asyncio
import logging
from pathlib import Path

import asyncpg
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from shared.database.engine import connect_arguments
from shared.database.errors import database_errors
from shared.database.options import DatabaseOptions
from shared.database.tables import SCHEMA, metadata

logger = logging.getLogger(__name__)
_alembic = logging.getLogger("alembic")

_LOCK = int.from_bytes(b"trelay")  # any number that nobody else's program locks by chance


async def migrate(options: DatabaseOptions) -> str:
    """Bring the tables to the newest revision, and return its name.

    Replicas that start together wait for the first; to the others it is a look. A database that a newer release has
    migrated is left as it is: its tables still serve this one, so that a deployment can be rolled.

    Raises:
        Unavailable: the server does not answer.
        Unauthorized: the account may not log in, or may not create what is missing.
    """
    if _alembic.level == logging.NOTSET:
        # It tells at every start what it would do and how; what it did is told below.
        _alembic.setLevel(logging.WARNING)
    # Alembic reads and compiles the revisions here, off the event loop; what follows is in memory.
    scripts = await asyncio.to_thread(load_scripts)
    arguments = connect_arguments(options, "migrations")
    arguments["command_timeout"] = None
    arguments["server_settings"] |= {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(**arguments)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    with database_errors(options.place):
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, scripts)


def load_scripts() -> ScriptDirectory:
    """Read all revisions from the disk."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    scripts.get_heads()
    return scripts


def _upgrade(connection: Connection, scripts: ScriptDirectory) -> str:
    # Held to the end of the transaction, however that comes.
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    # IF NOT EXISTS would want the right to create schemas even where there is nothing to create.
    if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    newest = scripts.get_current_head()
    assert newest is not None, "a package without revisions"
    with EnvironmentContext(
        Config(),
        scripts,
        # As Alembic's own command does it, which would look for an env.py on the disk besides.
        fn=lambda revision, _context: scripts._upgrade_revs(newest, revision),  # noqa: SLF001
    ) as environment:
        environment.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
        present = environment.get_context().get_current_heads()
        known = {script.revision for script in scripts.walk_revisions()}
        if not known.issuperset(present):
            logger.warning("the database is at revision %s, made by a newer release than this", ", ".join(present))
            return present[0]
        environment.run_migrations()
    if newest not in present:
        logger.info("the database is at revision %s now; it was at %s", newest, ", ".join(present) or "none")
    return newest
