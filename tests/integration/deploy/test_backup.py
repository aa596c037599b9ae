"""A backup by the commands of docs/operations/backup.md, restored on another server, has everything."""

import asyncio
import re
import shlex
from pathlib import Path

import asyncpg

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.standalone.embedded.binaries import postgres_binaries
from services.standalone.embedded.postgres import PostgresServer
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import TopicOptions, TopicPartition
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.contracts.bus.records import outgoing, owning, writing
from tests.k8s.rendering import ROOT

PAGE = (ROOT / "docs" / "operations" / "backup.md").read_text()
TOPIC = TopicOptions(name="orders", partitions=1)
POSITION = TopicPartition("orders", 0)


def _command(program: str, dsn: str, folder: Path) -> list[str]:
    (line,) = re.findall(rf"^(?:\d\. )?`?({program} [^`\n]+)`?$", PAGE, re.MULTILINE)
    line = line.replace("postgresql://trelay@HOST/trelay", dsn).replace("trelay.dump", str(folder / "dump"))
    newest = max(postgres_binaries(), key=lambda each: each.major)
    program, *words = shlex.split(line)
    return [str(newest.folder / program), *words]


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()


async def _age(dsn: str) -> None:
    """Use up transaction ids, so that those in the backup are in the future of the other server."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("DO $$ BEGIN FOR i IN 1..5000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$")
    await connection.close()


async def _clients(options: DatabaseOptions) -> list[str]:
    async with PostgresRegistry.opened(options) as registry:
        return [client.client_id for client in await registry.page()]


async def test_a_restored_database_has_everything_and_goes_on(
    migrated_database: DatabaseOptions, own_postgres: PostgresServer, tmp_path: Path
) -> None:
    await _age(migrated_database.url)
    async with PostgresRegistry.opened(migrated_database) as registry:
        await add_client(registry, "billing", secret=None)
    async with connect_postgres(PostgresBusOptions(), migrated_database) as bus:
        await bus.ensure_topics([TOPIC])
        async with owning(bus, "w") as writer:
            transaction = writing("orders", *(str(number) for number in range(50)), key="k")
            transaction.commit_offset("group", POSITION, 7)
            await writer.commit(transaction)
    await _run(*_command("pg_dump", migrated_database.url, tmp_path))

    restored = DatabaseOptions(url=own_postgres.dsn())
    await _run(*_command("pg_restore", restored.url, tmp_path))
    await migrate(restored)  # as the services do when they start
    assert await _clients(restored) == ["billing"]
    async with connect_postgres(PostgresBusOptions(), restored) as bus:
        await bus.ensure_topics([TOPIC])
        assert await bus.committed("group", POSITION) == 7
        async with bus.appender() as appender:
            await appender.append("orders", outgoing("after", key="k"))
        async with bus.reader("orders", {0: 0}) as reader:
            found: list[bytes | None] = []
            while len(found) < 51:
                records = await reader.read(wait=20)
                assert records, f"{len(found)} of 51 records"
                found += [record.value for record in records]
    assert found == [*(str(number).encode() for number in range(50)), b"after"]
