"""Consume, run a pipeline, produce, exactly once on Kafka: the process layer beside bare loops of aiokafka.

Measures the CPU time of this process for an event of 1 KB (without the broker's), and the rate. The process layer runs
as in the service: consumer group, selection by source, steps, dead letters, metrics, outputs and offsets in one
transaction of 1,000 events, two in flight. The bare loops do the least that gives the same events: `getmany`, the same
change of each event (by `json.loads` and `json.dumps`, or by the same JSONata), batches in aiokafka's transactions, two
producers in turns. They check nothing. Both run in turns, and the medians are compared.
"""

import argparse
import asyncio
import json
import random
import statistics
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import jsonatapy
import uvloop
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition as BarePosition
from prometheus_client import CollectorRegistry

from benchmarks.bare import bare_producer
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line, measured
from services.process_api.pipeline.check import build
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.worker.filler import TransactionOptions
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream
from shared.alerts import RecordingAlerts
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.kafka.options import Compression
from shared.bus.protocol import IN_FLIGHT, Transaction
from shared.bus.topics import TopicsOptions
from shared.events.event import Envelope, wrap
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK
from shared.telemetry.tracing import NO_TRACING, Tracing
from tests.servers.kafka import kafka_server

PER_TRANSACTION = 1000
KEY = b"orders.eu"

MAP = """{"id": id, "customer": customer, "total": $sum(items.(qty * price)), "items": items, "note": note}"""
JSONATA_MAP = MAP.replace("customer,", "$uppercase(customer),")
"""A map that Trelay does not evaluate without JSONata."""
STEPS: list[Any] = [
    {"filter": "amount >= 0 and status = 'open'"},
    {"set": {"data.region": "eu"}},
    {"drop": "data.secret"},
    {"route": "'orders.' & region"},
]
PIPELINES: dict[str, list[Any]] = {
    "no steps": [],
    "filter, set, drop, route": STEPS,
    "map with a sum": [{"map": MAP}],
    "map by JSONata": [{"map": JSONATA_MAP}],
}


Change = Callable[[bytes], bytes]


def events(count: int) -> list[tuple[bytes, bytes, list[tuple[str, bytes]]]]:
    """Make records as the system layer writes them: key, value, headers."""
    rng = random.Random(1)
    head = Envelope("/sources/orders", "order.updated").head()
    made = []
    for number in range(count):
        data = {
            "id": number,
            "customer": f"C-{rng.randrange(10**6)}",
            "status": "open",
            "amount": round(rng.random() * 500, 2),
            "secret": f"{rng.getrandbits(64):016x}",
            "items": [
                {"sku": f"{rng.getrandbits(32):08x}", "qty": 1 + rng.randrange(9), "price": round(rng.random(), 2)}
                for _ in range(11)
            ],
            "note": "x" * 120,
        }
        value = wrap(
            head,
            b'"orders:%d"' % number,
            b'"C-%d"' % (number % 500),
            b"2026-01-02T03:04:05.678Z",
            b"00-%032x-%016x-01" % (rng.getrandbits(128), rng.getrandbits(64)),
            json.dumps(data, separators=(",", ":")).encode(),
        )
        made.append((b"C-%d" % (number % 500), value, list(headers_of(b"orders 1700000000000 orders:%d" % number))))
    return made


def by_json(value: bytes) -> bytes:
    """Change an event as `STEPS` do."""
    event = json.loads(value)
    data = event["data"]
    assert data["amount"] >= 0
    assert data["status"] == "open"
    data["region"] = "eu"
    del data["secret"]
    event["channel"] = "orders." + data["region"]
    return json.dumps(event, separators=(",", ":")).encode()


def by_jsonata(mapping: str) -> Change:
    """Change an event as the pipeline with this map does."""
    compiled = jsonatapy.compile(f"""
        {{"specversion": specversion, "id": id, "source": source, "type": type, "subject": subject, "time": time,
          "traceparent": traceparent, "channel": "orders.eu", "data": data.{mapping}}}
    """)

    def change(value: bytes) -> bytes:
        found: str = compiled.evaluate_json(value.decode())
        return found.encode()

    return change


class Bench:
    """The measurements on one broker."""

    def __init__(self, servers: str, count: int) -> None:
        self.servers = servers
        self.events = events(count)

    async def written(self, topics: TopicsOptions) -> None:
        """Write the events to the ingest topic."""
        async with connect_kafka(KafkaOptions(servers=self.servers, topics=topics, compression="none")) as bus:
            await bus.ensure_topics(topics.all())
            async with bus.writer("system.orders") as writer:
                for start in range(0, len(self.events), PER_TRANSACTION):
                    transaction = Transaction()
                    for key, value, headers in self.events[start : start + PER_TRANSACTION]:
                        transaction.append(topics.ingest, key, value, headers)
                    await writer.commit(transaction)

    async def ours(self, steps: Sequence[Any], compression: Compression, tracing: Tracing = NO_TRACING) -> Cost:
        topics = new_topics()
        await self.written(topics)
        options = PipelineOptions.model_validate({"sources": ["orders"], "channel": "orders.eu", "steps": list(steps)})
        selection = build({"orders": options})
        registry = CollectorRegistry()
        metrics = ProcessMetrics(registry, selection.pipelines, SYSTEM_CLOCK)
        reporter = Reporter(RecordingAlerts(), metrics, SYSTEM_CLOCK, tracing=tracing)
        bus_options = KafkaOptions(servers=self.servers, topics=topics, compression=compression)
        async with connect_kafka(bus_options) as bus:
            transactions = TransactionOptions(events=PER_TRANSACTION, seconds=10)  # as many as the bare loops take
            stream = Stream(bus, topics, lambda: selection, transactions, reporter, SYSTEM_CLOCK)

            def published() -> float | None:
                return registry.get_sample_value("trelay_process_events_published_total", {"pipeline": "orders"})

            async def work() -> None:
                async with bus.join(topics.ingest, stream.group, "bench", stream.run_partition):
                    while published() != len(self.events):  # noqa: ASYNC110 -- a counter has no event to wait for
                        await asyncio.sleep(0.02)

            return await measured(work(), len(self.events))

    async def bare(self, change: Change) -> Cost:
        topics = new_topics()
        await self.written(topics)
        position = BarePosition(topics.ingest, 0)
        async with AsyncExitStack() as stack:
            producers = [await stack.enter_async_context(bare_producer(self.servers)) for _ in range(IN_FLIGHT)]
            consumer = await stack.enter_async_context(self._consumer(position))

            async def work() -> None:
                commits: list[asyncio.Task[None]] = []
                seen = turn = 0
                while seen < len(self.events):
                    found = await consumer.getmany(timeout_ms=1000, max_records=PER_TRANSACTION)
                    records = found.get(position, ())
                    if not records:
                        continue
                    producer = producers[turn % IN_FLIGHT]
                    if len(commits) == IN_FLIGHT:
                        await commits.pop(0)
                    await producer.begin_transaction()
                    sent = await send(producer, topics.publish, records, change)
                    offsets = {position: records[-1].offset + 1}
                    before = commits[-1] if commits else None
                    commits.append(asyncio.create_task(commit(producer, sent, offsets, topics.prefix, before)))
                    seen += len(records)
                    turn += 1
                await asyncio.gather(*commits)

            return await measured(work(), len(self.events))

    @asynccontextmanager
    async def _consumer(self, position: BarePosition) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        await consumer.start()
        consumer.assign([position])
        try:
            yield consumer
        finally:
            await consumer.stop()


async def send(producer: Any, topic: str, records: Sequence[Any], change: Change) -> list[asyncio.Future[object]]:
    sent = []
    batch = producer.create_batch()
    for record in records:
        value, headers = change(record.value), list(record.headers)
        if batch.append(key=KEY, value=value, timestamp=None, headers=headers) is None:
            sent.append(await producer.send_batch(batch, topic, partition=0))
            batch = producer.create_batch()
            batch.append(key=KEY, value=value, timestamp=None, headers=headers)
    sent.append(await producer.send_batch(batch, topic, partition=0))
    return sent


async def commit(
    producer: Any,
    sent: list[asyncio.Future[object]],
    offsets: dict[BarePosition, int],
    group: str,
    before: asyncio.Task[None] | None,
) -> None:
    await asyncio.gather(*sent)
    if before is not None:
        await before
    await producer.send_offsets_to_transaction(offsets, group)
    await producer.commit_transaction()


def new_topics() -> TopicsOptions:
    return TopicsOptions(prefix=f"bench-{uuid.uuid4().hex[:8]}", partitions=1)


async def run(servers: str, count: int, rounds: int, compressions: Sequence[Compression]) -> None:
    bench = Bench(servers, count)
    as_services_run()
    size = statistics.mean(len(value) for _, value, _ in bench.events)
    print(f"{count:,} events of {size:.0f} bytes, {PER_TRANSACTION} a transaction, {rounds} rounds, one partition")
    print(HEADING)
    kinds = [(name, compression) for compression in compressions for name in PIPELINES]
    changes: dict[str, Change] = {
        "json.loads and dumps": by_json,
        "JSONata with a sum": by_jsonata(MAP),
        "JSONata": by_jsonata(JSONATA_MAP),
    }
    works: list[Callable[[], Awaitable[Cost]]] = [partial(bench.bare, change) for change in changes.values()]
    for name, compression in kinds:
        works.append(lambda name=name, compression=compression: bench.ours(PIPELINES[name], compression))  # type: ignore[misc]
    costs = await alternate(rounds, *works)
    bare_costs = dict(zip(changes, costs, strict=False))
    for name, cost in bare_costs.items():
        print(line(f"bare aiokafka, {name}", cost))
    beside = {"map with a sum": "JSONata with a sum", "map by JSONata": "JSONata"}
    for (name, compression), cost in zip(kinds, costs[len(changes) :], strict=True):
        bare = bare_costs[beside.get(name, "json.loads and dumps")]
        print(line(f"process layer, {name}, {compression}", cost, bare))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="how many are processed in each run (50000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    with kafka_server(quick_start=False) as kafka:
        uvloop.run(run(kafka.bootstrap, arguments.events, arguments.rounds, ("none", "zstd")))


if __name__ == "__main__":
    main()
