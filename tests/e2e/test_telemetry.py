"""Three services and a real OpenTelemetry collector: a row is one trace from its table to the socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.standalone.embedded.process import free_port
from tests.e2e.deployments import write_settings
from tests.e2e.hops import SECRET, prepare
from tests.e2e.programs import Program
from tests.e2e.subscribing import RecordingSubscriber
from tests.servers.collector import CollectorServer, attributes, collector_server
from tests.servers.missing import skipping_without

SERVICES = ("system", "process", "experience")
CLIENT = "traced-subscriber"
CARD = "4929-1234"
"""Data, which no telemetry may hold."""
DDL = "CREATE TABLE orders (id serial PRIMARY KEY, card text)"

SERVER, CLIENT_KIND, PRODUCER, CONSUMER = 2, 3, 4, 5
"""Kinds of spans, as OTLP numbers them."""


@pytest.fixture
def collector(request: pytest.FixtureRequest) -> Iterator[CollectorServer]:
    with skipping_without("OpenTelemetry collector", request.config), collector_server() as server:
        yield server


def settings(dsn: str, endpoint: str, ports: dict[str, int]) -> dict[str, Any]:
    source = {"kind": "table", "url": dsn, "table": "orders", "subject": "id", "type": "order.made", "interval": 0.05}
    found: dict[str, Any] = {
        "database": {"url": dsn},
        "bus": {"kind": "postgres", "topics": {"partitions": 1}},
        "telemetry": {"endpoint": endpoint, "metrics": True, "logs": True, "flush_timeout": 10},
        "system": {"sources": {"orders": source}},
        "process": {"pipelines": {"orders": {"sources": ["orders"], "channel": "orders"}}},
        "experience": {"drain_delay": 0},
    }
    for name, port in ports.items():
        found[name]["listen"] = {"port": port}
    return found


@asynccontextmanager
async def deployed(folder: Path, dsn: str, endpoint: str) -> AsyncIterator[str]:
    """Run the three services; stop them at the end, so that they export what they have."""
    ports = {name: free_port() for name in SERVICES}
    config = write_settings(folder, settings(dsn, endpoint, ports))
    programs = [
        Program(
            name,
            ["-m", f"services.{name}_api", "--config", str(config)],
            f"http://127.0.0.1:{port}/readyz",
            folder / f"{name}.log",
        )
        for name, port in ports.items()
    ]
    try:
        for program in programs:
            program.start()
        await asyncio.gather(*(program.ready() for program in programs))
        yield f"http://127.0.0.1:{ports['experience']}"
        assert await asyncio.gather(*(program.stop() for program in programs)) == [0, 0, 0]
    finally:
        for program in programs:
            program.kill()


@pytest.mark.timeout(900)
async def test_a_row_is_one_trace_from_its_table_to_the_socket(
    collector: CollectorServer, tmp_path: Path, database: str
) -> None:
    await prepare(database, [DDL], [CLIENT])
    async with deployed(tmp_path, database, collector.endpoint) as url:
        subscriber = RecordingSubscriber(url, CLIENT, SECRET)
        event = await received(subscriber, database)
    await asyncio.to_thread(collector.stop)
    check_trace(collector, event["traceparent"])
    check_metrics(collector)
    check_logs(collector)
    exported = repr((collector.spans(), collector.metrics(), collector.logs()))
    assert not [secret for secret in (CARD, SECRET, subscriber.token) if secret in exported]


async def received(subscriber: RecordingSubscriber, dsn: str) -> dict[str, Any]:
    """Insert a row, and return its event."""
    connection = await asyncpg.connect(dsn)
    subscribing = asyncio.create_task(subscriber.run())
    try:
        await subscriber.connected()
        await connection.execute("INSERT INTO orders (card) VALUES ($1)", CARD)
        await subscriber.expect(1, 60)
    finally:
        subscribing.cancel()
        await connection.close()
    (event,) = subscriber.events
    return event


def check_trace(collector: CollectorServer, traceparent: str) -> None:
    """The spans of an event are one trace, whose root is the poll."""
    _, trace_id, root_id, _ = traceparent.split("-")
    spans = [span for span in collector.spans() if span["traceId"] == trace_id]
    (root,) = (span for span in spans if not span.get("parentSpanId"))
    assert (root["name"], root["spanId"], root["kind"]) == ("poll orders", root_id, PRODUCER)
    hops = {(span["name"], span["service"], span["kind"]) for span in spans if span.get("parentSpanId") == root_id}
    assert hops >= {
        ("send trelay.ingest", "system_api", CLIENT_KIND),
        ("process trelay.ingest", "process_api", CONSUMER),
        ("deliver trelay.publish", "experience_api", CONSUMER),
    }
    statements = [span for span in spans if attributes(span).get("db.system.name") == "postgresql"]
    assert {"SELECT"} <= {attributes(span)["db.operation.name"] for span in statements}
    assert {(span["service"], span["kind"]) for span in statements} == {("system_api", CLIENT_KIND)}
    for span in spans:
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
    (request,) = (span for span in collector.spans() if span["name"] == "POST /consumers" and span["kind"] == SERVER)
    children = [span for span in collector.spans() if span.get("parentSpanId") == request["spanId"]]
    assert "postgresql" in {attributes(span).get("db.system.name") for span in children}


def check_metrics(collector: CollectorServer) -> None:
    """What `/metrics` shows is there, from each service."""
    found = {(metric["service"], metric["name"]): metric for metric in collector.metrics()}
    assert {service for service, _ in found} == {f"{name}_api" for name in SERVICES}
    published = found["system_api", "trelay_system_events_published_total"]["sum"]
    assert published["isMonotonic"] is True
    assert [(attributes(point), point["asDouble"]) for point in published["dataPoints"]] == [({"source": "orders"}, 1)]


def check_logs(collector: CollectorServer) -> None:
    """Lines of the log are there, from each service; one that belongs to a request has its trace."""
    logs = collector.logs()
    assert {record["service"] for record in logs} == {f"{name}_api" for name in SERVICES}
    (registered,) = (record for record in logs if record["body"]["stringValue"] == "consumer registered")
    assert attributes(registered)["client_id"] == CLIENT
    (request,) = (span for span in collector.spans() if span["name"] == "POST /consumers")
    assert (registered["traceId"], registered["spanId"]) == (request["traceId"], request["spanId"])
