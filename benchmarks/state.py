"""The steps that keep state, with a million keys: CPU an event, memory, and how fast state is restored.

Each row runs in a process of its own. An event of 200 bytes goes through a pipeline of one step, and every 1,000 events
are a transaction, without the bus. The bare loop does the least that gives the same result: `json.loads`, a dict of
counts and sums, nothing that survives a crash. Bytewax runs the same windows where it is installed, with no recovery
store. `restore` reads a changelog of as many keys from Kafka.
"""

import argparse
import asyncio
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measuring import as_services_run
from services.process_api.pipeline.pipeline import Input, Pipeline, PipelineOptions
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.state.memory import MemoryStores
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.rocks import RocksStores
from services.process_api.state.store import Stores
from services.process_api.worker.turns import Turns
from shared.bus.kafka import KafkaOptions
from shared.bus.kafka.bus import connect_kafka
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Bus, Outgoing, TopicOptions, TopicPartition, Transaction
from shared.events.event import Envelope, wrap
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.kafka import kafka_server

PER_TRANSACTION = 1000
PLACE = TopicPartition("state", 0)
TOPIC = TopicOptions(name="state", partitions=1, compact=True, retention_hours=None)
START = 1_767_225_600
"""2026-01-01 in seconds since 1970."""

STEPS: dict[str, dict[str, Any]] = {
    "aggregate": {"aggregate": {"window": {"tumbling": 3600}, "values": {"n": "count", "sum": {"sum": "amount"}}}},
    "dedupe": {"dedupe": {"by": "id", "within": 3600}},
    "join": {"join": {"left": "orders", "right": "payments", "within": 3600}},
    "latest": {"latest": {"every": 60_000}},
}


def events(count: int, keys: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of events; every key has one before any has two."""
    rng, heads = random.Random(1), [Envelope(f"/sources/{name}", "seen").head() for name in ("orders", "payments")]
    trace = b"00-%032x-%016x-01" % (1, 1)
    for number in range(count):
        key = b"C-%d" % (number if number < keys else rng.randrange(keys))
        data = b'{"id":%d,"amount":%d.25,"note":"%b"}' % (number, number % 500, b"x" * 20)
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(START + number * 1800 // count)).encode()
        yield key, wrap(heads[number >= keys], b'"o:%d"' % number, b'"%b"' % key, when, trace, data)


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Row:
    """One line of the result."""

    def __init__(self, name: str, count: int) -> None:
        self._name, self._count = name, count
        self._memory, self._cpu, self._clock = resident(), time.process_time(), time.perf_counter()

    def end(self) -> None:
        """Print what it took since it began."""
        cpu = (time.process_time() - self._cpu) / self._count * 1e6
        rate = self._count / (time.perf_counter() - self._clock)
        print(f"{self._name:<32}{cpu:>8.2f} µs{rate:>12,.0f}/s{resident() - self._memory:>9,.0f} MiB", flush=True)


async def opened_stores(kind: str, stack: AsyncExitStack) -> Stores:
    """Open the stores of a kind."""
    if kind == "memory":
        return MemoryStores()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return await stack.enter_async_context(RocksStores.opened(folder))


async def run_step(name: str, kind: str, count: int, keys: int) -> None:
    """Run the events through one step."""
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "c", "steps": [STEPS[name]]})
    pipeline = Pipeline("bench", options)
    async with AsyncExitStack() as stack:
        bus: Bus = MemoryBus()
        await bus.ensure_topics([TOPIC])
        stores = await opened_stores(kind, stack)
        state = PartitionState(bus, PLACE, stores.store(0), SYSTEM_CLOCK)
        await state.restore(0)
        running = state.activate({"bench": pipeline.definitions})
        scope = Scope(PLACE, Turns(SYSTEM_CLOCK), running)
        given = list(events(count, keys))
        row = Row(f"{name}, {kind}", count)
        for start in range(0, count, PER_TRANSACTION):
            some = given[start : start + PER_TRANSACTION]
            outcomes = await pipeline.start([Input(value, (), spliced=True) for _, value in some], scope)
            for (key, _), outcome in zip(some, outcomes, strict=True):
                running.at_record(key, START * 1000, b"orders 1700000000000 o")
                running.begin("bench")
                made = await pipeline.finish(outcome, headers_of(b"orders 1700000000000 o"), scope)
                assert isinstance(made, list), made
                running.keep("bench")
                async for _ in pipeline.due(scope):
                    pass
                running.keep("bench")
            state.seal(start)
            await state.settle()
        row.end()


def run_bare(count: int, keys: int) -> None:
    """Count and sum in a dict."""
    given = list(events(count, keys))
    row = Row("bare dict", count)
    windows: dict[tuple[bytes, str], list[Any]] = {}
    for key, value in given:
        event = json.loads(value)
        window = windows.setdefault((key, event["time"][:13]), [0, 0])
        window[0] += 1
        window[1] += event["data"]["amount"]
    row.end()


def run_bytewax(count: int, keys: int) -> None:
    """Count and sum with Bytewax, of whose interface mypy knows nothing here."""
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415 -- a peer that need not be installed

    flows: Any = importlib.import_module("bytewax.dataflow")
    operators: Any = importlib.import_module("bytewax.operators")
    windowing: Any = importlib.import_module("bytewax.operators.windowing")
    testing: Any = importlib.import_module("bytewax.testing")
    given, out = list(events(count, keys)), list[Any]()
    flow = flows.Dataflow("bench")
    stream = operators.input("in", flow, testing.TestingSource(given, batch_size=PER_TRANSACTION))
    keyed = operators.map("parse", stream, lambda each: (each[0].decode(), json.loads(each[1])))
    clock = windowing.EventClock(lambda event: datetime.fromisoformat(event["time"]), timedelta(0))
    windower = windowing.TumblingWindower(timedelta(hours=1), datetime.fromtimestamp(START, UTC))

    def fold(total: tuple[int, float], event: Any) -> tuple[int, float]:
        return total[0] + 1, total[1] + event["data"]["amount"]

    def merge(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
        return one[0] + other[0], one[1] + other[1]

    windowed = windowing.fold_window("fold", keyed, clock, windower, lambda: (0, 0.0), fold, merge)
    operators.output("out", windowed.down, testing.TestingSink(out))
    row = Row("bytewax, no recovery", count)
    testing.run_main(flow)
    row.end()


async def run_restore(kind: str, keys: int) -> None:
    """Restore a changelog from Kafka."""
    with kafka_server() as server:
        async with connect_kafka(KafkaOptions(servers=server.bootstrap)) as bus, AsyncExitStack() as stack:
            await bus.ensure_topics([TOPIC])
            async with bus.writer("state") as writer:
                for start in range(0, keys, PER_TRANSACTION):
                    numbers = range(start, min(keys, start + PER_TRANSACTION))
                    records = [Outgoing(b"\0\0\0\1vC-%d" % number, b"x" * 60) for number in numbers]
                    await writer.commit(Transaction(placed={PLACE: records}))
            state = PartitionState(bus, PLACE, (await opened_stores(kind, stack)).store(0), SYSTEM_CLOCK)
            row = Row(f"restore to {kind}", keys)
            await state.restore(0)
            assert state.restored >= keys
            row.end()


def in_a_loop(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
    """Run a part in an event loop of its own."""
    asyncio.run(work(*arguments))


def main() -> None:
    """Print a row for each part, each measured in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_500_000)
    parser.add_argument("--part", help="one row alone, such as aggregate/disk")
    given = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {"bare": partial(run_bare, given.events, given.keys)}
    if importlib.util.find_spec("bytewax") is not None:
        parts["bytewax"] = partial(run_bytewax, given.events, given.keys)
    for name in STEPS:
        for kind in ("memory", "disk"):
            parts[f"{name}/{kind}"] = partial(in_a_loop, run_step, name, kind, given.events, given.keys)
    for kind in ("memory", "disk"):
        parts[f"restore/{kind}"] = partial(in_a_loop, run_restore, kind, given.keys)
    if given.part:
        as_services_run()
        parts[given.part]()
        return
    print(f"{'':<32}{'CPU an event':>11}{'events':>14}{'memory':>13}", flush=True)
    for part in parts:
        sizes = ["--keys", str(given.keys), "--events", str(given.events)]
        subprocess.run([sys.executable, "-m", "benchmarks.state", *sizes, "--part", part], check=True)


if __name__ == "__main__":
    main()
