"""What `benchmarks.connect` compares: the upstreams, and what reads them."""

import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.peers_connect import Connect, Peer, Trelay
from shared.bus.connect import connect
from shared.bus.kafka import KafkaOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from tests.integration.services.system_api.service import program

PAD = "x" * 200
_FLAT = {"key.converter": "org.apache.kafka.connect.storage.StringConverter"}
_JSON = {
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
}


Write = Callable[[range], Awaitable[None]]
"""Writes records with these numbers to the upstream."""


class Servers(NamedTuple):
    """What all of them use."""

    bootstrap: str
    dsn: str
    folder: Path


class Case(NamedTuple):
    """One upstream, and what reads it."""

    peer: Peer
    write: Write


def new_file(servers: Servers) -> tuple[Path, Write]:
    """Return a new file, and what appends lines to it."""
    path = servers.folder / f"{uuid.uuid4().hex}.ndjson"
    path.touch()

    async def write(numbers: range) -> None:
        with path.open("a") as file:
            file.write("".join(f'{{"id":"{number}","number":{number},"pad":"{PAD}"}}\n' for number in numbers))

    return path, write


async def new_table(servers: Servers) -> tuple[str, Write]:
    """Return a new table, and what inserts rows; of ten rows, the first is committed after the others."""
    table = f"numbers_{uuid.uuid4().hex[:8]}"
    now, late = [await asyncpg.connect(servers.dsn) for _ in range(2)]
    await now.execute(
        f"CREATE TABLE public.{table} (id bigint PRIMARY KEY, number bigint, pad text, at timestamptz DEFAULT now())"
    )
    await now.execute(f"CREATE INDEX ON public.{table} (at, id); CREATE PUBLICATION {table} FOR TABLE public.{table}")
    insert = f"INSERT INTO public.{table} SELECT n, n, '{PAD}' FROM unnest($1::bigint[]) n"

    async def write(numbers: range) -> None:
        async with late.transaction():
            await late.execute(insert, [number for number in numbers if number % 10 == 0])
            await now.execute(insert, [number for number in numbers if number % 10])

    return table, write


async def trelay(servers: Servers, write: Write, source: dict[str, object]) -> Case:
    """Return the system layer with one source."""
    name = f"trelay-{uuid.uuid4().hex[:8]}"
    options = KafkaOptions(servers=servers.bootstrap, topics=TopicsOptions(prefix=name, partitions=1))
    async with connect(options, DatabaseOptions(url=servers.dsn)) as bus:
        await bus.ensure_topics(options.topics.all())
    folder = servers.folder / name
    folder.mkdir()
    settings = {"type": "t", "subject": "id", "channel": "numbers"} | source
    running = program(folder, servers.dsn, options, {name: settings}, node=name)
    return Case(Trelay(running, options.topics.publish), write)


async def trelay_file(servers: Servers) -> Case:
    """Trelay follows a file."""
    path, write = new_file(servers)
    return await trelay(servers, write, {"kind": "file", "path": str(path)})


async def trelay_table(servers: Servers, **more: object) -> Case:
    """Trelay reads a table."""
    table, write = await new_table(servers)
    if more["mode"] == "replication":
        more |= {"slot": table, "publication": table, "create_slot": True, "initial_snapshot": False}
    return await trelay(servers, write, {"kind": "table", "url": servers.dsn, "table": f"public.{table}"} | more)


async def create_topic(servers: Servers, name: str) -> None:
    """Create a topic of one partition."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(name, 1, 1)])
    await admin.close()


async def connect_file(servers: Servers, *, exactly_once: bool) -> Case:
    """Kafka Connect follows a file."""
    path, write = new_file(servers)
    name = f"file-{uuid.uuid4().hex[:8]}"
    connector = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": str(path),
        "topic": name,
        "tasks.max": "1",
    }
    await create_topic(servers, name)
    flat = _FLAT | {"value.converter": _FLAT["key.converter"]}
    return Case(Connect(servers.folder, name, servers.bootstrap, name, connector, exactly_once, flat), write)


async def debezium(servers: Servers, *, exactly_once: bool) -> Case:
    """Debezium reads the log of a table."""
    table, write = await new_table(servers)
    database = urlsplit(servers.dsn)
    connector = {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "plugin.name": "pgoutput",
        "database.hostname": "127.0.0.1",
        "database.port": str(database.port),
        "database.user": str(database.username),
        "database.password": "none",
        "database.dbname": database.path.strip("/"),
        "topic.prefix": table,
        "table.include.list": f"public.{table}",
        "slot.name": table,
        "publication.name": table,
        "snapshot.mode": "no_data",
        "tasks.max": "1",
    }
    topic = f"{table}.public.{table}"
    await create_topic(servers, topic)
    return Case(Connect(servers.folder, table, servers.bootstrap, topic, connector, exactly_once, _FLAT | _JSON), write)


CASES: dict[str, Callable[[Servers], Awaitable[Case]]] = {
    "file: Trelay": trelay_file,
    "file: FileStreamSource": lambda servers: connect_file(servers, exactly_once=False),
    "file: FileStreamSource, exactly once": lambda servers: connect_file(servers, exactly_once=True),
    "table, log: Trelay": lambda servers: trelay_table(servers, mode="replication"),
    "table, log: Debezium": lambda servers: debezium(servers, exactly_once=False),
    "table, log: Debezium, exactly once": lambda servers: debezium(servers, exactly_once=True),
    "table, by time: Trelay": lambda servers: trelay_table(servers, mode="incremental", updated_at_column="at"),
}
