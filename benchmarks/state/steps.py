"""Runs events through one step of the process layer, and restores its state, as the worker does."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.state.events import DURATION, START
from benchmarks.state.meter import Meter
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
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK

PER_TRANSACTION = 1000
PLACE = TopicPartition("state", 0)
TOPIC = TopicOptions(name="state", partitions=1, compact=True, retention_hours=None)

STEPS: dict[str, dict[str, Any]] = {
    "aggregate": {"aggregate": {"window": {"tumbling": 3600}, "values": {"n": "count", "sum": {"sum": "amount"}}}},
    "dedupe": {"dedupe": {"by": "id", "within": 900}},  # for half of the events, a key expires with each
    "join": {"join": {"left": "orders", "right": "payments", "within": 3600}},
    "latest": {"latest": {"every": 5_000}},  # so short that what waits becomes due within the run
}


async def opened_stores(kind: str, stack: AsyncExitStack) -> Stores:
    """Open the stores of a kind."""
    if kind == "memory":
        return MemoryStores()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    return await stack.enter_async_context(RocksStores.opened(folder))


async def run_step(name: str, kind: str, given: list[tuple[bytes, bytes]]) -> None:
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
        meter = Meter()
        for start in range(0, len(given), PER_TRANSACTION):
            some = given[start : start + PER_TRANSACTION]
            outcomes = await pipeline.start([Input(value, (), spliced=True) for _, value in some], scope)
            for number, ((key, _), outcome) in enumerate(zip(some, outcomes, strict=True), start):
                running.at_record(key, (START + number * DURATION // len(given)) * 1000, b"orders 1700000000000 o")
                running.begin("bench")
                made = await pipeline.finish(outcome, headers_of(b"orders 1700000000000 o"), scope)
                assert isinstance(made, list), made
                running.keep("bench")
                if pipeline.timed and pipeline.may_be_due(running):
                    running.begin("bench")
                    async for _ in pipeline.due(scope):
                        pass
                    running.keep("bench")
            state.seal(start)
            await state.settle()
        meter.report(len(given))


async def write_changelog(servers: str, keys: int) -> None:
    """Write a changelog of so many keys."""
    async with connect_kafka(KafkaOptions(servers=servers)) as bus:
        await bus.ensure_topics([TOPIC])
        async with bus.writer("state") as writer:
            for start in range(0, keys, PER_TRANSACTION):
                numbers = range(start, min(keys, start + PER_TRANSACTION))
                records = [Outgoing(b"\0\0\0\1vC-%d" % number, b"x" * 60) for number in numbers]
                await writer.commit(Transaction(placed={PLACE: records}))


async def restore(servers: str, kind: str, keys: int) -> None:
    """Restore the state from such a changelog."""
    async with connect_kafka(KafkaOptions(servers=servers)) as bus, AsyncExitStack() as stack:
        state = PartitionState(bus, PLACE, (await opened_stores(kind, stack)).store(0), SYSTEM_CLOCK)
        meter = Meter()
        await state.restore(0)
        assert state.restored >= keys
        meter.report(keys)
