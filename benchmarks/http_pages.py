"""Pages of an HTTP API to the publish topic, exactly once, compared with a minimal loop on the same servers.

Measures the CPU time of this process for an event of 1 KB (without that of the servers), and the rate. The system layer
runs completely: the poller with its lease, the HTTP source that follows a log of changes with a cursor, and
transactions of 1,000 events with rejects and checkpoint, two in flight. The bare loop requests the same pages with
aiohttp, decodes them with `json`, encodes each record, prepends a constant head and writes whole pages in aiokafka's
transactions, with two alternating producers. The API runs in a process of its own. The measurements alternate, and the
medians are compared.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from benchmarks.bare import PER_TRANSACTION, BareRecords, bare_record, publish_bare
from benchmarks.children import child
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line
from benchmarks.polling import polled
from services.system_api.sources.http.polling.opening import http_source
from services.system_api.sources.http.polling.options import HttpSourceOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseOptions
from tests.servers.kafka import kafka_server


def page(first: int, events: int) -> bytes:
    """Return the page that begins with a record."""
    numbers = range(first, min(first + PER_TRANSACTION, events + 1))
    records = [
        {"id": number, "customer": f"Zoë Example {number}", "amount": number * 0.37, "state": "paid", "note": "x" * 900}
        for number in numbers
    ]
    behind = numbers[-1] if numbers else first - 1
    body = {"items": records, "cursor": str(behind), "more": behind < events}
    return json.dumps(body, ensure_ascii=False).encode()


async def serve(events: int) -> None:
    """Serve the pages until this process is ended, and print the port."""
    pages = {first - 1: page(first, events) for first in range(1, events + 2, PER_TRANSACTION)}

    async def answer(request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        return web.Response(body=pages.get(after, b'{"items": []}'), content_type="application/json")

    app = web.Application()
    app.router.add_get("/changes", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def settings(url: str) -> dict[str, Any]:
    """Return the settings of the source that reads the pages."""
    return {
        "kind": "http",
        "url": url,
        "network": {"allow": ["127.0.0.1"]},
        "records": "items",
        "id": "id",
        "pagination": {"kind": "cursor", "cursor": "more ? cursor", "parameter": "after"},
        "changes": {"kind": "cursor", "cursor": "cursor", "parameter": "after", "window": 0},
        "type": "order.updated",
        "channel": "orders.eu",
        "batch": PER_TRANSACTION,
    }


async def system_layer(events: int, servers: str, url: str) -> Cost:
    options = HttpSourceOptions.model_validate(settings(url))
    return await polled(http_source, options, events, KafkaOptions(servers=servers), DatabaseOptions())


async def bare_pages(url: str) -> AsyncIterator[BareRecords]:
    """Yield the values and headers of one page at a time."""
    async with aiohttp.ClientSession() as session:
        after, more = "0", True
        while more:
            async with session.get(url, params={"after": after}) as response:
                found = json.loads(await response.read())
            after, more = found["cursor"], found["more"]
            yield [
                bare_record(b"%d" % each["id"], json.dumps(each, ensure_ascii=False).encode())
                for each in found["items"]
            ]


async def bare_kafka(events: int, servers: str, url: str) -> Cost:
    return await publish_bare(bare_pages(url), events, servers)


async def run(events: int, rounds: int, servers: str, port: int) -> None:
    url = f"http://127.0.0.1:{port}/changes"
    as_services_run()
    print(f"{events:,} records of 1 KB in pages of {PER_TRANSACTION} to the publish topic, {rounds} rounds")
    print(HEADING)
    bare, system = await alternate(
        rounds, lambda: bare_kafka(events, servers, url), lambda: system_layer(events, servers, url)
    )
    print(line("Kafka, bare aiohttp, json and aiokafka", bare, bare))
    print(line("Kafka, system layer, by cursor", system, bare))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="records of the API (50000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        uvloop.run(serve(arguments.events))
        return
    command = [sys.executable, "-m", "benchmarks.http_pages", "--serve", "--events", str(arguments.events)]
    with kafka_server(quick_start=False) as kafka, child(*command) as api:
        uvloop.run(run(arguments.events, arguments.rounds, kafka.bootstrap, api.hear()))


if __name__ == "__main__":
    main()
