"""What each step costs: CPU an event, beside `json.loads` and `json.dumps` of the same event.

Events of 1 KB go through a pipeline of one step by the batch of the worker, without the bus; every 1,000 are a batch.
The first row has no step: it adds the channel. `added` is what the step adds to that, and `of bare` is its ratio to the
bare loop, which reads each event into a dict and writes it again. State is kept in memory, for 10,000 keys.

`call` is not among them: it costs the request. `benchmarks.enrich` measures queries, `benchmarks.state` a million keys.
"""

import argparse
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from benchmarks.enrich import INPUT, PER_BATCH, records
from benchmarks.measuring import Cost, alternate, as_services_run, measured
from benchmarks.process import JSONATA_MAP
from services.process_api.pipeline.check import build
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.state.memory import MemoryStores
from services.process_api.state.partition_state import PartitionState
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.turns import Turns
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Record, TopicOptions
from shared.runtime.clock import SYSTEM_CLOCK

KEYS = 10_000
STATE = TopicOptions(name=INPUT.topic, partitions=1, compact=True, retention_hours=None)
WINDOW = {"window": {"tumbling": 3600}, "values": {"n": "count", "sum": {"sum": "amount"}}}
SCHEMA = {
    "type": "object",
    "required": ["id", "customer"],
    "properties": {"id": {"type": "integer"}, "customer": {"type": "string"}, "amount": {"type": "number"}},
}


def region(entity: Any) -> Any:
    """Change an entity as a function of a user does."""
    entity["region"] = "eu"
    return entity


def steps(folder: Path) -> dict[str, list[Any]]:
    """Return the steps of each row."""
    file = folder / "customers.csv"
    file.write_text("id,name,tier\n" + "".join(f"C-{n},Customer {n},gold\n" for n in range(KEYS)))
    set_region = {"set": {"data.region": "eu"}}
    return {
        "filter": [{"filter": "amount >= 0 and status = 'open'"}],
        "filter, JSONata": [{"filter": "$count(items) > 2"}],
        "map": [{"map": "{'id': id, 'customer': customer, 'amount': amount}"}],
        "map, JSONata": [{"map": JSONATA_MAP}],
        "set": [set_region],
        "drop": [{"drop": "data.secret"}],
        "rename": [{"rename": {"data.note": "data.text"}}],
        "route": [{"route": "'orders.' & status"}],
        "repartition": [{"repartition": "customer"}],
        "validate": [{"validate": SCHEMA}],
        "python": [{"python": f"{region.__module__}:region"}],
        "mask": [{"mask": {"redact": ["data.secret"]}}],
        "convert": [{"convert": {"data.amount": "string"}}],
        "enrich, file": [{"enrich": {"file": {"path": str(file)}, "key": "customer", "into": "data.found"}}],
        "branch": [{"branch": {"cases": [{"when": "amount > 250", "steps": [set_region]}]}}],
        "parallel": [{"parallel": {"lists": {"a": [set_region], "b": [set_region]}, "merge": "{'a': a, 'b': b}"}}],
        "foreach": [{"foreach": {"items": "data.items", "steps": [{"set": {"data.seen": True}}]}}],
        "split": [{"split": {"items": "items", "into": "data.items"}}],
        "emit": [{"emit": ["orders.a", "orders.b"]}],
        "dedupe": [{"dedupe": {"by": "id", "within": 3600}}],
        "latest": [{"latest": {"every": 60_000}}],
        "schedule": [{"schedule": {"quiet": 3600}}],
        "aggregate": [{"aggregate": WINDOW}],
        "join": [{"join": {"left": "orders", "right": "payments", "within": 3600}}],
        "table": [{"table": {"of": "customers", "into": "data.found"}}],
    }


def selection(given: Sequence[Any]) -> Selection:
    options = {"sources": ["orders"], "channel": "orders.eu", "steps": list(given)}
    return build({"orders": PipelineOptions.model_validate(options)})


async def process(made: Selection, given: Sequence[Record]) -> None:
    """Run the records through the batch of the worker, with state that is committed after each."""
    state = await new_state() if made.stateful else None
    running = None if state is None else state.activate({each.name: each.definitions for each in made.pipelines})
    for start in range(0, len(given), PER_BATCH):
        some = given[start : start + PER_BATCH]
        batch = Batch(made, PoisonTracker())
        if batch.waits:
            await batch.add_waiting(some, Scope(INPUT, Turns(SYSTEM_CLOCK), running))
        else:
            batch.add(some)
        assert batch.count == len(some)
        assert not batch.rejects, batch.rejects[:1]
        if state is not None:
            state.seal(start)
            await state.settle()


async def new_state() -> PartitionState:
    bus = MemoryBus()
    await bus.ensure_topics([STATE])
    state = PartitionState(bus, INPUT, MemoryStores().store(0), SYSTEM_CLOCK)
    await state.restore(0)
    return state


async def bare(given: Sequence[Record]) -> None:
    for record in given:
        json.dumps(json.loads(record.value or b""), separators=(",", ":")).encode()


async def measure(made: Selection, given: Sequence[Record]) -> Cost:
    return await measured(process(made, given), len(given))


async def run(folder: Path, count: int, rounds: int) -> None:
    given = records(count, KEYS)
    rows = {"no step": selection(()), **{name: selection(each) for name, each in steps(folder).items()}}
    as_services_run()
    works: list[Callable[[], Awaitable[Cost]]] = [lambda: measured(bare(given), count)]
    works += [partial(measure, made, given) for made in rows.values()]
    limit, none, *costs = await alternate(rounds, *works)
    print(f"{count:,} events, {rounds} rounds; json.loads and json.dumps take {limit.cpu:.2f} µs an event")
    print(f"{'':<24}{'CPU an event':>11}{'added':>14}{'of bare':>11}")
    print(f"{'no step':<24}{none.cpu:>8.2f} µs")
    for name, cost in zip([*rows][1:], costs, strict=True):
        added = cost.cpu - none.cpu
        print(f"{name:<24}{cost.cpu:>8.2f} µs{added:>+11.2f} µs{added / limit.cpu:>+9.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000, help="how many are processed in each run (20000)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="trelay-bench-") as folder:
        uvloop.run(run(Path(folder), given.events, given.rounds))


if __name__ == "__main__":
    main()
