"""Table to publish topic, exactly once, compared with a minimal loop on the same servers.

Measures the CPU time of this process for an event of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the table source with its horizon, and transactions of 1,000 events with
rejects and checkpoint, two in flight; ordered by key, and by the time of the last update. The bare loop reads the rows
above the highest key it has seen, as JSON made by the server, prepends a constant head to each and writes whole batches
in aiokafka's transactions, with two alternating producers. The measurements alternate, and the medians are compared.
"""

import argparse
from collections.abc import AsyncIterator

import asyncpg
import uvloop

from benchmarks.bare import PER_TRANSACTION, BareRecords, bare_record, publish_bare
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line
from benchmarks.polling import polled
from services.system_api.sources.table.opening import table_source
from services.system_api.sources.table.options import TableSourceOptions
from shared.bus.connect import BusOptions
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.events.event import Channel
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

TABLE = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (
        id bigserial PRIMARY KEY, customer text, region text, amount numeric(12, 2), state text, vip boolean,
        placed date, note text, tags text[], updated_at timestamptz NOT NULL
    );
    INSERT INTO shop.orders (customer, region, amount, state, vip, placed, note, tags, updated_at)
    SELECT 'Zoë Example ' || n, 'eu', n * 0.37, 'paid', n % 2 = 0, DATE '2026-01-02', repeat(md5(n::text), 24),
           ARRAY['a', 'b'], now() - interval '1 day' + n * interval '1 millisecond'
    FROM generate_series(1, {events}) n;
    CREATE INDEX ON shop.orders (updated_at, id);
    ANALYZE shop.orders;
"""


async def prepare(dsn: str, events: int) -> float:
    """Write the table; return the mean size of a row."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLE.format(events=events))
        size = await connection.fetchval("SELECT avg(octet_length(row_to_json(t.*)::text)) FROM shop.orders t")
        return float(size)
    finally:
        await connection.close()


async def system_layer(
    events: int, bus_options: BusOptions, database: DatabaseOptions, updated_at_column: str | None = None
) -> Cost:
    options = TableSourceOptions(
        kind="table",
        url=database.url,
        table="shop.orders",
        updated_at_column=updated_at_column,
        type="order.updated",
        channel=Channel("orders.eu"),
        batch=PER_TRANSACTION,
    )
    return await polled(table_source, options, events, bus_options, database)


async def bare_rows(dsn: str) -> AsyncIterator[BareRecords]:
    """Yield the values and headers of one transaction at a time."""
    statement = """
        SELECT id, convert_to(row_to_json(t.*)::text, 'UTF8')
        FROM shop.orders t WHERE id > $1 ORDER BY id LIMIT $2
    """
    connection = await asyncpg.connect(dsn)
    try:
        highest = 0
        while rows := await connection.fetch(statement, highest, PER_TRANSACTION):
            yield [bare_record(b"%d" % key, data) for key, data in rows]
            highest = rows[-1][0]
    finally:
        connection.terminate()


async def bare_kafka(events: int, servers: str, dsn: str) -> Cost:
    return await publish_bare(bare_rows(dsn), events, servers)


async def run(events: int, rounds: int, servers: str, dsn: str) -> None:
    database = DatabaseOptions(url=dsn)
    await migrate(database)
    size = await prepare(dsn, events)
    as_services_run()
    print(f"{events:,} rows of {size:.0f} bytes to the publish topic, {PER_TRANSACTION} a transaction, {rounds} rounds")
    print(HEADING)
    kafka = KafkaOptions(servers=servers)
    bare, by_key, by_time, on_postgres = await alternate(
        rounds,
        lambda: bare_kafka(events, servers, dsn),
        lambda: system_layer(events, kafka, database),
        lambda: system_layer(events, kafka, database, "updated_at"),
        lambda: system_layer(events, PostgresBusOptions(), database),
    )
    print(line("Kafka, bare asyncpg and aiokafka", bare, bare))
    print(line("Kafka, system layer, by key", by_key, bare))
    print(line("Kafka, system layer, by time", by_time, bare))
    print(line("PostgreSQL, system layer, by key", on_postgres, bare))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000, help="rows of the table (200000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    with kafka_server(quick_start=False) as kafka, postgres_server(durable=True) as postgres:
        uvloop.run(run(arguments.events, arguments.rounds, kafka.bootstrap, postgres.dsn()))


if __name__ == "__main__":
    main()
