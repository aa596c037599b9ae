import asyncio
import importlib
import logging
import pkgutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext

from shared.database import tables
from shared.database.engine import create_engine
from shared.database.migrations import migrate, newest_revision
from shared.database.migrations.upgrading import load_scripts
from shared.database.options import DatabaseOptions
from shared.database.tables.schema import SCHEMA, metadata
from shared.errors import Unauthorized, Unavailable


@pytest.mark.every_postgres
async def test_the_migrations_create_the_tables_as_described(migrated_database: DatabaseOptions) -> None:
    for module in pkgutil.iter_modules(tables.__path__, f"{tables.__name__}."):
        importlib.import_module(module.name)  # it adds its tables to the metadata

    def differences(connection: sa.Connection) -> list[object]:
        options = {
            "version_table_schema": SCHEMA,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            "compare_server_default": True,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))

    engine = create_engine(migrated_database)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


@pytest.mark.every_postgres
async def test_every_revision_can_be_downgraded(migrated_database: DatabaseOptions) -> None:
    scripts = await asyncio.to_thread(load_scripts)

    def downgrade(connection: sa.Connection) -> None:
        with EnvironmentContext(Config(), scripts, fn=lambda at, _: scripts._downgrade_revs("base", at)) as environment:
            environment.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA)
            environment.run_migrations()

    engine = create_engine(migrated_database)
    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
        left = await connection.execute(
            sa.text("SELECT relname FROM pg_class WHERE relnamespace = 'trelay'::regnamespace")
        )
        assert {name for (name,) in left} == {"alembic_version", "alembic_version_pkc"}
        functions = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'trelay'::regnamespace"
        assert await connection.scalar(sa.text(functions)) == 0
    await engine.dispose()
    await migrate(migrated_database)


async def test_replicas_that_start_together_wait_for_each_other(database: str) -> None:
    options = DatabaseOptions(url=database)
    revisions = await asyncio.gather(*(migrate(options) for _ in range(5)))
    assert len(set(revisions)) == 1


async def test_a_migration_is_logged_and_an_up_to_date_database_is_not(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    newest = await migrate(DatabaseOptions(url=database))
    [line] = caplog.records
    assert line.getMessage() == "migrated database"
    fields = {"component": "database", "revision": newest, "previous_revision": "none"}
    assert line.__dict__.items() >= fields.items()
    caplog.clear()
    await migrate(DatabaseOptions(url=database))
    assert caplog.records == []


async def test_a_database_of_a_newer_release_stays_as_it_is(
    migrated_database: DatabaseOptions, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await asyncpg.connect(migrated_database.url)
    await connection.execute("UPDATE trelay.alembic_version SET version_num = 'from-the-future'")
    await connection.close()
    assert await migrate(migrated_database) == "from-the-future"
    [line] = caplog.records
    assert line.getMessage() == "database revision is newer than this release"
    assert line.__dict__["revision"] == "from-the-future"


async def test_a_role_without_privileges_is_unauthorized(database: str) -> None:
    connection = await asyncpg.connect(database)
    role = f"test_{connection.get_server_pid()}"
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        with pytest.raises(Unauthorized):
            await migrate(DatabaseOptions(url=database.replace("//trelay@", f"//{role}@")))
        assert await connection.fetchval("SELECT to_regnamespace('trelay')") is None
        await migrate(DatabaseOptions(url=database))
        await connection.execute(f"GRANT USAGE ON SCHEMA trelay TO {role}")
        await connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA trelay TO {role}")
        # If nothing is missing, a role that may not create tables is enough.
        await migrate(DatabaseOptions(url=database.replace("//trelay@", f"//{role}@")))
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


async def test_a_server_that_does_not_listen_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await migrate(DatabaseOptions(url="postgresql://trelay@127.0.0.1:1/trelay"))


async def test_an_operator_can_run_it_from_any_folder(database: str, tmp_path: Path) -> None:
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "shared.database", database],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "is at revision" in ran.stdout


async def test_the_newest_revision_is_known_without_alembic() -> None:
    scripts = await asyncio.to_thread(load_scripts)
    assert await asyncio.to_thread(newest_revision) == scripts.get_current_head()


async def test_a_database_that_is_up_to_date_is_not_migrated_and_needs_no_right_to_create(database: str) -> None:
    options = DatabaseOptions(url=database)
    newest = await migrate(options)
    connection = await asyncpg.connect(database)
    try:
        # Whoever migrates waits for this lock.
        await connection.execute("SELECT pg_advisory_lock($1)", int.from_bytes(b"trelay"))
        async with asyncio.timeout(60):
            assert await migrate(options) == newest
    finally:
        await connection.close()
