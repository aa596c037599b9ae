"""The privileges that docs/postgresql.md lists are enough for the services."""

import asyncpg

from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import Outgoing, TopicOptions, Transaction
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.lease import Leases, PostgresLeaseStore
from tests.contracts.bus.groups import Journal, JournalWorker
from tests.contracts.bus.records import hand_over, read_some, writing

_GRANTS = """
CREATE ROLE {role} LOGIN;
GRANT USAGE ON SCHEMA trelay TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA trelay TO {role};
GRANT USAGE ON ALL SEQUENCES IN SCHEMA trelay TO {role};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trelay TO {role};
"""


async def test_a_role_without_ddl_runs_the_bus(migrated_database: DatabaseOptions, sql: asyncpg.Connection) -> None:
    role = f"test_{sql.get_server_pid()}"
    await sql.execute(_GRANTS.format(role=role))
    database = DatabaseOptions(url=migrated_database.url.replace("//trelay@", f"//{role}@"))
    try:
        await migrate(database)
        await use(database)
    finally:
        await sql.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def use(database: DatabaseOptions) -> None:
    journal = Journal()
    large = [Outgoing(b"%d" % number, b"x" * 1000) for number in range(100)]
    async with (
        connect_postgres(PostgresBusOptions(retention_check_interval=0.1), database) as bus,
        PostgresLeaseStore.opened(database) as store,
        Leases(store, "a").hold("s"),
    ):
        await bus.ensure_topics(
            [
                TopicOptions(name="log", partitions=2),
                TopicOptions(name="kept", partitions=1, compact=True, retention_hours=None),
            ]
        )
        async with (
            bus.writer("w") as writer,
            bus.join("log", "g", "m", JournalWorker(journal, "m")),
            bus.reader("log", {0: 0, 1: 0}) as reader,
        ):
            await hand_over(writer, writing("log", "a"))
            await hand_over(writer, Transaction({"log": large, "kept": large[:1]}))
            await read_some(reader, 101)
            await journal.until(lambda: len(journal.read) == 101)
        assert await bus.latest("kept", b"0") == {b"0": large[0].value}
        assert bus.problem is None
