"""Peak memory of the system layer while it reads a small and a large input, for each kind of source: it must not grow.

Each reading is a process of its own, which runs the whole system layer into Kafka in transactions of 1,000 events of
1 KB, and prints the peak of its resident memory (VmHWM of /proc). The small input is larger than every buffer, so that
the ratio shows what grows with the input. HTTP pages behind a cursor do grow, by about 200 bytes for each record until
the last page is read: the cursor moves then, and until then a crash must find which records were published. The end is
at two million records. A workbook grows too: its library holds a sheet as a whole, and 128 MiB of it at most, unpacked.
The servers of SQS, event streams and WebSockets are those of `pushed`.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from pydantic import TypeAdapter

from benchmarks import http_pages, ndjson, pushed, queues, replication, table
from benchmarks.children import child
from benchmarks.file_formats import WRITERS
from benchmarks.measuring import as_services_run
from benchmarks.polling import SOURCE, polled
from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Limits
from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from services.system_api.sources.http.webhook.opening import webhook_source
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.registry import AnySource, build_source
from services.system_api.sources.source import SourceOpener
from shared.bus.kafka import KafkaOptions
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.runtime.clock import Clock
from tests.servers.kafka import kafka_server
from tests.servers.mosquitto import mosquitto_server
from tests.servers.nats import nats_server
from tests.servers.postgres import postgres_server
from tests.servers.rabbitmq import rabbitmq_server
from tests.servers.redis import redis_server

PER_MEGABYTE = 1000
"""Events of 1 KB."""
COMMON = {"type": "order.updated", "channel": "orders.eu", "batch": 1000}
KEEPING_ALL = "max_queued_messages 0\nautosave_on_changes false\nautosave_interval 3600\n"
"""Settings of Mosquitto, which writes all that it keeps after each message otherwise."""
AT_ONCE = {"ready": "stable", "stable_seconds": 0}
STATUS = Path("/proc/self/status")

Upstream = Iterator[dict[str, Any]]
"""The settings of a source, once its upstream holds the events."""


@contextmanager
def lines(events: int) -> Upstream:
    with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder:
        ndjson.write_lines(Path(folder) / "orders.ndjson", events)
        yield {"kind": "file", "path": f"{folder}/orders.ndjson", "subject": "id"}


def files(suffix: str, **settings: Any) -> Callable[[int], AbstractContextManager[dict[str, Any]]]:
    """Return what writes a file with this extension."""

    @contextmanager
    def written(events: int) -> Upstream:
        with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder:
            path = Path(folder) / f"orders.{suffix}"
            WRITERS[suffix](path, events)
            yield {"kind": "file", "path": str(path), "subject": "id", **settings}

    return written


@contextmanager
def log_of_a_database(events: int) -> Upstream:
    with postgres_server(settings={"wal_level": "logical"}) as server:
        asyncio.run(replication.prepare(server.dsn(), events))
        given = {"slot": replication.SLOT, "publication": replication.PUBLICATION, "initial_snapshot": False}
        yield {"kind": "table", "url": server.dsn(), "table": "shop.orders", "mode": "replication", **given}


@contextmanager
def webhooks(events: int) -> Upstream:
    with postgres_server() as server:
        asyncio.run(fill_inbox(DatabaseOptions(url=server.dsn()), events))
        yield {"kind": "webhook", "verify": {"kind": "none"}, "delivery_id": {"body": True}, "database": server.dsn()}


async def fill_inbox(database: DatabaseOptions, events: int) -> None:
    """Store deliveries in the inbox of the source."""
    await migrate(database)
    limits = Limits(events + 1, events * 10_000)
    async with PostgresInbox.opened(database) as inbox:
        for first in range(0, events, PER_MEGABYTE):
            bodies = [pushed.body(number).encode() for number in range(first, min(first + PER_MEGABYTE, events))]
            await inbox.store(SOURCE, [Delivery(None, body, "application/json") for body in bodies], limits)


def pushing(kind: str, scheme: str, **settings: Any) -> Callable[[int], AbstractContextManager[dict[str, Any]]]:
    """Return what runs a server of `pushed`."""

    @contextmanager
    def served(events: int) -> Upstream:
        with child(sys.executable, "-m", "benchmarks.pushed", kind, str(events)) as server:
            url = f"{scheme}://127.0.0.1:{server.hear()}/{queues.NAME}"
            yield {"kind": kind, "url": url, "network": {"allow": ["127.0.0.1"]}, **settings}

    return served


@contextmanager
def rows_of_a_table(events: int) -> Upstream:
    with postgres_server() as server:
        asyncio.run(table.prepare(server.dsn(), events))
        yield {"kind": "table", "url": server.dsn(), "table": "shop.orders"}


@contextmanager
def pages(events: int) -> Upstream:
    command = [sys.executable, "-m", "benchmarks.http_pages", "--serve", "--events", str(events)]
    with child(*command) as api:
        yield http_pages.settings(f"http://127.0.0.1:{api.hear()}/changes")


@contextmanager
def topics_of_mqtt(events: int) -> Upstream:
    with mosquitto_server(KEEPING_ALL) as broker:
        settings = {"kind": "mqtt", "url": broker.url, "topics": [queues.NAME], "client_id": queues.NAME}
        asyncio.run(queues.fill_mqtt(settings, broker.port, events))
        yield settings


def log(
    server: Callable[[], AbstractContextManager[Any]], fill: Callable[[str, int], Any], **settings: Any
) -> Callable[[int], AbstractContextManager[dict[str, Any]]]:
    """Return what fills a log of a broker of its own."""

    @contextmanager
    def filled(events: int) -> Upstream:
        with server() as running:
            kafka = settings["kind"] == "kafka"
            url = running.bootstrap if kafka else running.url
            asyncio.run(fill(url, events))
            yield {**settings, "servers" if kafka else "url": url}

    return filled


KINDS: dict[str, Callable[[int], AbstractContextManager[dict[str, Any]]]] = {
    "NDJSON": lines,
    "CSV": files("csv"),
    "Parquet": files("parquet", mode="drop", drop=AT_ONCE),
    "Avro": files("avro", mode="drop", drop=AT_ONCE),
    "XML": files("xml", mode="drop", drop=AT_ONCE, records="/orders/order"),
    "Excel": files("xlsx", mode="drop", drop=AT_ONCE),
    "table": rows_of_a_table,
    "replication": log_of_a_database,
    "HTTP pages": pages,
    "webhooks": webhooks,
    "SSE": pushing("sse", "http"),
    "WebSocket": pushing("websocket", "ws"),
    "SQS": pushing("sqs", "http", region="eu-central-1", access_key_id="id", secret_access_key="none"),
    "Kafka": log(kafka_server, queues.fill_kafka, kind="kafka", topics=[queues.NAME]),
    "Redis": log(redis_server, queues.fill_redis, kind="redis", stream=queues.NAME, field="data"),
    "NATS": log(nats_server, queues.fill_nats, kind="nats", stream=queues.NAME),
    "MQTT": topics_of_mqtt,
    "RabbitMQ": log(rabbitmq_server, queues.fill_rabbitmq, kind="rabbitmq", stream=queues.NAME),
}


async def read(settings: str, events: int, servers: str) -> None:
    """Read all events of a source, whose settings are JSON."""
    as_services_run()
    given = json.loads(settings)
    database = given.pop("database", None)
    options: Any = TypeAdapter(AnySource).validate_python(given)
    kafka = KafkaOptions(servers=servers)
    if database is None:
        await polled(build_source, options, events, kafka, DatabaseOptions())
        return
    async with PostgresInbox.opened(DatabaseOptions(url=database)) as inbox:

        def source(name: str, options: WebhookSourceOptions, clock: Clock, rng: random.Random) -> SourceOpener:
            return webhook_source(name, options, inbox, clock, rng)

        await polled(source, options, events, kafka, DatabaseOptions())


def peak(kind: str, megabytes: int, servers: str) -> float:
    """Return the peak in MiB of a process that reads so much."""
    events = megabytes * PER_MEGABYTE
    with KINDS[kind](events) as settings:
        given = TypeAdapter(dict[str, Any]).dump_json(COMMON | settings).decode()
        command = [sys.executable, "-m", "benchmarks.memory", "--read", given, str(events), servers]
        with child(*command) as reading:
            return reading.hear() / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=list(KINDS), help="a kind of source; all by default")
    parser.add_argument("--small", type=int, default=40, help="megabytes of the small input (40)")
    parser.add_argument("--large", type=int, default=200, help="megabytes of the large input (200)")
    parser.add_argument("--read", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        settings, events, servers = arguments.read
        uvloop.run(read(settings, int(events), servers))
        print(next(line.split()[1] for line in STATUS.read_text().splitlines() if line.startswith("VmHWM")))
        return
    small, large = arguments.small, arguments.large
    print(f"{'':<12}{f'{small} MB':>12}{f'{large} MB':>12}{'ratio':>8}")
    with kafka_server(quick_start=False) as kafka:
        for kind in arguments.kind or KINDS:
            less, more = peak(kind, small, kafka.bootstrap), peak(kind, large, kafka.bootstrap)
            print(f"{kind:<12}{less:>8.0f} MiB{more:>8.0f} MiB{more / less:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
