"""Runs the revisions that the database lacks, by Alembic, which takes long to import."""

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

from shared.database.arguments import connect_arguments
from shared.database.connecting import open_connection
from shared.database.engine_errors import engine_errors
from shared.database.options import DatabaseOptions
from shared.database.tables.schema import SCHEMA, metadata

logger = logging.getLogger(__name__)

_LOCK = int.from_bytes(b"trelay")  # any number that no other program is likely to lock


async def upgrade(options: DatabaseOptions) -> str:
    """Run all revisions that are missing, in one transaction; return the newest one. Raises what `migrate` does."""
    # Alembic reads and compiles the revisions here, outside the event loop; the rest is in memory.
    scripts = await asyncio.to_thread(load_scripts)
    arguments = connect_arguments(options, "migrations")
    arguments["command_timeout"] = None
    arguments["server_settings"] |= {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}

    async def connect() -> asyncpg.Connection:
        return await open_connection(arguments)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    with engine_errors(options.address):
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, scripts)


def load_scripts() -> ScriptDirectory:
    """Read all revisions."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    scripts = ScriptDirectory.from_config(config)
    scripts.get_heads()
    return scripts


def _upgrade(connection: Connection, scripts: ScriptDirectory) -> str:
    # The lock is held to the end of the transaction.
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    # IF NOT EXISTS would need the privilege to create schemas even if the schema exists.
    if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    newest = scripts.get_current_head()
    assert newest is not None, "a package without revisions"
    with EnvironmentContext(
        Config(),
        scripts,
        # As Alembic's `upgrade` command does, which would also need an env.py.
        fn=lambda revision, _context: scripts._upgrade_revs(newest, revision),  # noqa: SLF001
    ) as environment:
        environment.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
        present = environment.get_context().get_current_heads()
        known = {script.revision for script in scripts.walk_revisions()}
        if not known.issuperset(present):
            logger.warning("database revision is newer than this release", extra=_fields(revision=", ".join(present)))
            return present[0]
        environment.run_migrations()
    if newest not in present:
        previous = ", ".join(present) or "none"
        logger.info("migrated database", extra=_fields(revision=newest, previous_revision=previous))
    return newest


def _fields(**fields: str) -> dict[str, str]:
    return {"component": "database", **fields}
