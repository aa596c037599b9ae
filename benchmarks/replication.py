"""The log of PostgreSQL to the publish topic, exactly once, compared with a minimal loop on the same servers.

Measures the CPU time of this process for a change of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the source in `mode: replication` with its checks, and transactions of 1,000
events with the checkpoint, two in flight. The bare loop peeks at a slot with asyncpg, as many changes at once, decodes
the inserts of pgoutput, encodes each row as JSON text, prepends a constant head and writes 1,000 at once in aiokafka's
transactions, with two alternating producers; then it moves its slot. It checks nothing, and its values are all text.
Each measurement reads a copy of one slot. The measurements alternate, and the medians are compared.
"""

import argparse
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop

from benchmarks.bare import PER_TRANSACTION, BareRecords, BareWriter, bare_cost, bare_record
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line
from benchmarks.polling import polled
from benchmarks.table import TABLE
from services.system_api.sources.table.opening import table_source
from services.system_api.sources.table.options import TableSourceOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseOptions
from shared.events.event import Channel
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

SLOT, PUBLICATION = "bench", "bench"
PEEK = """
    SELECT data FROM pg_logical_slot_peek_binary_changes(
        $1, NULL, 100000, 'proto_version', '1', 'publication_names', $2
    )
"""
HEADER = 1 + 4 + 1 + 2
"""Bytes of an INSERT before its columns: kind, relation, 'N' and their number. Source: PostgreSQL, 55.9."""


async def prepare(dsn: str, events: int) -> None:
    """Write all rows to the log, in transactions of 1,000, behind the place of a slot."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLE.format(events=PER_TRANSACTION))
        await connection.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE shop.orders")
        await connection.execute("CREATE TABLE shop.patterns AS SELECT * FROM shop.orders")
        await connection.execute("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", SLOT)
        columns = "customer, region, amount, state, vip, placed, note, tags, updated_at"
        for _ in range(events // PER_TRANSACTION):
            await connection.execute(f"INSERT INTO shop.orders ({columns}) SELECT {columns} FROM shop.patterns")
    finally:
        await connection.close()


@asynccontextmanager
async def copied(dsn: str) -> AsyncIterator[tuple[asyncpg.Connection, str]]:
    """Copy the slot for one measurement."""
    name = f"bench_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SELECT pg_copy_logical_replication_slot($1, $2)", SLOT, name)
        yield connection, name
        await connection.execute("SELECT pg_drop_replication_slot($1)", name)
    finally:
        connection.terminate()


async def system_layer(events: int, servers: str, dsn: str) -> Cost:
    async with copied(dsn) as (_, slot):
        options = TableSourceOptions(
            kind="table",
            url=dsn,
            table="shop.orders",
            mode="replication",
            slot=slot,
            publication=PUBLICATION,
            initial_snapshot=False,
            type="order.updated",
            channel=Channel("orders.eu"),
            batch=PER_TRANSACTION,
        )
        return await polled(table_source, options, events, KafkaOptions(servers=servers), DatabaseOptions())


def values(insert: bytes) -> Iterator[str | None]:
    """Yield the columns of an INSERT in text."""
    at = HEADER
    while at < len(insert):
        if insert[at : at + 1] == b"n":
            yield None
            at += 1
        else:
            size = int.from_bytes(insert[at + 1 : at + 5])
            yield insert[at + 5 : at + 5 + size].decode()
            at += 5 + size


def names(relation: bytes) -> list[str]:
    """Return the columns of a RELATION message."""
    _schema, _table, rest = relation[5:].split(b"\0", 2)
    found, at = [], 3
    for _ in range(int.from_bytes(rest[1:3])):
        end = rest.index(b"\0", at + 1)
        found.append(rest[at + 1 : end].decode())
        at = end + 1 + 4 + 4
    return found


def bare_changes(messages: list[bytes]) -> Iterator[BareRecords]:
    """Yield the values and headers of one transaction of the bus at a time."""
    columns: list[str] = []
    records: BareRecords = []
    for message in messages:
        if message[:1] == b"R":
            columns = names(message)
        elif message[:1] == b"I":
            row = dict(zip(columns, values(message), strict=True))
            identity = str(row["id"]).encode()
            data = json.dumps(row, ensure_ascii=False).encode()
            records.append(bare_record(identity, data))
            if len(records) == PER_TRANSACTION:
                yield records
                records = []
    if records:
        yield records


async def bare_kafka(events: int, servers: str, dsn: str) -> Cost:
    async with copied(dsn) as (connection, slot):

        async def work(writer: BareWriter) -> None:
            sent = 0
            while sent < events:
                messages = [row[0] for row in await connection.fetch(PEEK, slot, PUBLICATION)]
                for batch in bare_changes(messages):
                    await writer.write(batch)
                    sent += len(batch)
                await writer.committed()
                end = int.from_bytes(messages[-1][10:18])  # of a COMMIT message
                lsn = f"{end >> 32:X}/{end & 0xFFFFFFFF:X}"
                await connection.execute(f"SELECT pg_replication_slot_advance('{slot}', '{lsn}')")

        return await bare_cost(work, events, servers)


async def run(events: int, rounds: int, servers: str, dsn: str) -> None:
    await prepare(dsn, events)
    as_services_run()
    print(
        f"{events:,} inserts of 1 KB in the log to the publish topic, {PER_TRANSACTION} a transaction, {rounds} rounds"
    )
    print(HEADING)
    bare, ours = await alternate(
        rounds, lambda: bare_kafka(events, servers, dsn), lambda: system_layer(events, servers, dsn)
    )
    print(line("Kafka, bare asyncpg and aiokafka", bare, bare))
    print(line("Kafka, system layer, mode: replication", ours, bare))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="inserts in the log (50000), in thousands")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    logical = {"wal_level": "logical"}
    with kafka_server(quick_start=False) as kafka, postgres_server(durable=True, settings=logical) as postgres:
        uvloop.run(run(arguments.events, arguments.rounds, kafka.bootstrap, postgres.dsn()))


if __name__ == "__main__":
    main()
