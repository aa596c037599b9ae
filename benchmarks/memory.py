"""Peak memory of the system layer while it reads a small and a large input, for each kind of source: it must not grow.

Each reading is a process of its own, which runs the whole system layer into Kafka in transactions of 1,000 events of
1 KB, and prints the peak of its resident memory (VmHWM of /proc). The small input is larger than every buffer, so that
the ratio shows what grows with the input. HTTP pages behind a cursor do grow, by about 200 bytes for each record until
the last page is read: the cursor moves then, and until then a crash must find which records were published. The end is
at two million records. SQS is not measured: its server in the tests takes longer for each message, the more it has.
"""

import argparse
import asyncio
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import uvloop
from pydantic import TypeAdapter

from benchmarks import http_pages, ndjson, queues, table
from benchmarks.children import child
from benchmarks.measuring import as_services_run
from benchmarks.polling import polled
from services.system_api.sources.registry import AnySource, build_source
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseOptions
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
STATUS = Path("/proc/self/status")

Upstream = Iterator[dict[str, Any]]
"""The settings of a source, once its upstream holds the events."""


@contextmanager
def lines(events: int) -> Upstream:
    with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder:
        ndjson.write_lines(Path(folder) / "orders.ndjson", events)
        yield {"kind": "file", "path": f"{folder}/orders.ndjson", "subject": "id"}


@contextmanager
def rows_of_csv(events: int) -> Upstream:
    with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder:
        with (Path(folder) / "orders.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows([number, "x" * 990] for number in range(events))
        yield {"kind": "file", "path": f"{folder}/orders.csv", "format": "csv", "subject": "id"}


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
    "CSV": rows_of_csv,
    "table": rows_of_a_table,
    "HTTP pages": pages,
    "Kafka": log(kafka_server, queues.fill_kafka, kind="kafka", topics=[queues.NAME]),
    "Redis": log(redis_server, queues.fill_redis, kind="redis", stream=queues.NAME, field="data"),
    "NATS": log(nats_server, queues.fill_nats, kind="nats", stream=queues.NAME),
    "MQTT": topics_of_mqtt,
    "RabbitMQ": log(rabbitmq_server, queues.fill_rabbitmq, kind="rabbitmq", stream=queues.NAME),
}


async def read(settings: str, events: int, servers: str) -> None:
    """Read all events of a source, whose settings are JSON."""
    as_services_run()
    options: Any = TypeAdapter(AnySource).validate_python(json.loads(settings))
    await polled(build_source, options, events, KafkaOptions(servers=servers), DatabaseOptions())


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
