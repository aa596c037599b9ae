"""What the process layer adds to the latency of an event while nothing else arrives, on Kafka.

A trip begins when a writer is given one event, and ends when a reader of the publish topic has it. `direct` writes to
the publish topic: one transaction, the least for any relay that is exactly once. The other rows write to the ingest
topic, and the process layer makes the event of the publish topic: one transaction more. `added` is the difference of
the medians to `direct`; it has a limit of 5 ms. A pipeline that `repartition` divides has one transaction more again.

The two rows `bare aiokafka` are the same two trips without Trelay: one transaction, and one more that copies the record
with its offset. What the second adds is the least that these requests of Kafka take on this machine; `of bare` is what
the process layer adds beside it.

The trips of all rows alternate, with a pause of 30 to 60 ms before each. The second table has the requests of a trip
with `no steps`: when each is sent and when it is answered, p50 since the trip began.
"""

import argparse
import asyncio
import random
import statistics
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from time import perf_counter
from typing import Any

import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.latency import bare, percentile
from benchmarks.measuring import as_services_run
from benchmarks.process import JSONATA_MAP, STEPS, events
from benchmarks.request_times import RequestTimes
from services.process_api.pipeline.check import build
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.worker.filler import TransactionOptions
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream
from shared.alerts import RecordingAlerts
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.protocol import Transaction
from shared.bus.topics import TopicsOptions
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.kafka import kafka_server

WARM_UP = 20
PIPELINES: dict[str, list[Any]] = {
    "no steps": [],
    "filter, set, drop, route": STEPS,
    "map by JSONata": [{"map": JSONATA_MAP}],
    "dedupe": [{"dedupe": {"by": "id", "within": 60}}],
    "repartition": [{"repartition": "customer"}],
}

DIRECT = {"bare aiokafka, copied": "bare aiokafka", **dict.fromkeys(PIPELINES, "direct")}
"""The row beside which each of these has added something."""

Trip = Callable[[], Awaitable[float]]
"""Makes one trip, and returns its milliseconds."""


@asynccontextmanager
async def trips(servers: str, steps: list[Any] | None) -> AsyncIterator[Trip]:
    """Run the process layer with these steps; None is without it."""
    topics = TopicsOptions(prefix=f"bench-{uuid.uuid4().hex[:8]}", partitions=1)
    given = iter(events(10_000))
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect_kafka(KafkaOptions(servers=servers, topics=topics)))
        await bus.ensure_topics(topics.all())
        if steps is not None:
            options = {"sources": ["orders"], "channel": "orders.eu", "steps": steps}
            selection = build({"orders": PipelineOptions.model_validate(options)})
            metrics = ProcessMetrics(CollectorRegistry(), selection.pipelines, SYSTEM_CLOCK)
            reporter = Reporter(RecordingAlerts(), metrics, SYSTEM_CLOCK)
            stream = Stream(bus, topics, lambda: selection, TransactionOptions(), reporter, SYSTEM_CLOCK)
            joined = bus.join(topics.ingest, stream.group, "bench", stream.run_partition)
            await stack.enter_async_context(joined)
        writer = await stack.enter_async_context(bus.writer("system.orders"))
        reader = await stack.enter_async_context(bus.reader(topics.publish, {0: 0}))
        target = topics.publish if steps is None else topics.ingest

        async def trip() -> float:
            transaction = Transaction()
            transaction.append(target, *next(given))
            began = perf_counter()
            await writer.commit(transaction)
            async with asyncio.timeout(30):
                while not await reader.read(1, None):
                    pass
            return (perf_counter() - began) * 1000

        yield trip


@asynccontextmanager
async def bare_trips(servers: str, *, copied: bool) -> AsyncIterator[Trip]:
    """Make the trips of aiokafka alone."""
    async with bare(servers, copied=copied) as trip:
        numbers = count()
        yield lambda: trip(next(numbers))


async def measure(servers: str, times: int, seed: int) -> None:
    rng, recorded = random.Random(seed), RequestTimes()
    async with AsyncExitStack() as stack:
        stack.enter_context(recorded.recording())
        opened: dict[str, Trip] = {}
        for name, copied in (("bare aiokafka", False), ("bare aiokafka, copied", True)):
            opened[name] = await stack.enter_async_context(bare_trips(servers, copied=copied))
        for name, steps in {"direct": None, **PIPELINES}.items():
            opened[name] = await stack.enter_async_context(trips(servers, steps))
        found: dict[str, list[float]] = {name: [] for name in opened}
        as_services_run()
        for number in range(WARM_UP + times):
            for name, trip in opened.items():
                await asyncio.sleep(rng.uniform(0.03, 0.06))
                began = recorded.begin()
                took = await trip()
                if number >= WARM_UP:
                    found[name].append(took)
                    if name == "no steps":
                        recorded.note(began)
    print(f"{times} trips of each, seed {seed}")
    report(found)
    print(f"\n{'no steps: request':<32}{'sent':>11}{'answered':>12}", *recorded.lines(), sep="\n")


def report(found: dict[str, list[float]]) -> None:
    """Print the times of each row."""
    medians = {name: statistics.median(values) for name, values in found.items()}
    added = {name: medians[name] - medians[direct] for name, direct in DIRECT.items()}
    print(f"{'':<32}{'p50':>11}{'p99':>12}{'added, p50':>14}{'of bare':>11}")
    for name, values in found.items():
        line = f"{name:<32}{medians[name]:>8.2f} ms{percentile(values, 0.99):>9.2f} ms"
        if name in added:
            line += f"{added[name]:>11.2f} ms"
        if name in PIPELINES:
            line += f"{added[name] / added['bare aiokafka, copied']:>9.2f} x"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=200, help="of each kind (200)")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses between them (1)")
    given = parser.parse_args()
    with kafka_server(quick_start=False) as broker:
        uvloop.run(measure(broker.bootstrap, given.trips, given.seed))


if __name__ == "__main__":
    main()
