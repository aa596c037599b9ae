"""Look-ups of `enrich`: what one adds to an event when it is cached, and batched SQL beside bare asyncpg.

Batches of 1,000 events of 1 KB go through the batch of the worker, without the bus. The column `CPU an event` is of
this process, without PostgreSQL's. How to read it:

- `set a constant` writes the same member without a look-up. `added` of the rows below it is what the look-up costs; the
  cached one has a limit of 3 µs. The warm cache holds every key.
- `bare asyncpg` does the least that gives the same events: `json.loads`, one query for each 500 distinct keys,
  `json.dumps`. `of bare` of the row below it is the ratio; there, nothing is cached, and SQLAlchemy and asyncpg run the
  query.

All of them run in turns, and the medians are compared.
"""

import argparse
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
import uvloop

from benchmarks.measuring import Cost, alternate, as_services_run, measured
from benchmarks.process import events
from services.process_api.pipeline.check import build
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.scope import Scope
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.turns import Turns
from shared.bus.memory.log import MemoryRecord
from shared.bus.protocol import Record, TopicPartition
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.postgres import postgres_server

PER_BATCH = 1000
PER_QUERY = 500
READ_AT = 1_767_323_045_678
"""The time of the events, in milliseconds since 1970."""
INPUT = TopicPartition("ingest", 0)
CUSTOMERS = """
    CREATE TABLE customers (id text PRIMARY KEY, name text NOT NULL, tier text NOT NULL);
    INSERT INTO customers SELECT 'C-' || n, 'Customer ' || n, 'gold' FROM generate_series(0, {keys} - 1) n;
    ANALYZE customers;
"""
QUERY = "SELECT id, name, tier FROM customers WHERE id IN :keys"
BARE_QUERY = "SELECT id, name, tier FROM customers WHERE id = ANY($1)"
ENRICHED = {"id": "C-1", "name": "Customer 1", "tier": "gold"}


def records(count: int, keys: int) -> list[Record]:
    """Make records of the ingest topic, each of one of so many customers; those of a batch are all different."""
    made: list[Record] = []
    for number, (key, value, headers) in enumerate(events(count)):
        event = json.loads(value)
        event["data"]["customer"] = f"C-{number * 7919 % keys}"
        written = json.dumps(event, separators=(",", ":")).encode()
        made.append(MemoryRecord(INPUT.topic, 0, number, READ_AT, key, written, tuple(headers)))
    return made


def pipeline(*steps: Any) -> Selection:
    options = PipelineOptions.model_validate({"sources": ["orders"], "channel": "orders.eu", "steps": list(steps)})
    return build({"orders": options})


async def process(selection: Selection, given: Sequence[Record]) -> None:
    """Run the records through the batch of the worker."""
    for start in range(0, len(given), PER_BATCH):
        some = given[start : start + PER_BATCH]
        batch = Batch(selection, PoisonTracker())
        if batch.waits:
            await batch.add_waiting(some, Scope(INPUT, Turns(SYSTEM_CLOCK)))
        else:
            batch.add(some)
        assert len(batch.outputs) == len(some), batch.rejects[:1]
        assert b'"tier":"gold"' in (batch.outputs[0].value or b"")


async def measure(selection: Selection, given: Sequence[Record]) -> Cost:
    return await measured(process(selection, given), len(given))


async def bare(connection: asyncpg.Connection, given: Sequence[Record]) -> None:
    """Enrich the records with the least that does it."""
    for start in range(0, len(given), PER_BATCH):
        some = [json.loads(record.value or b"") for record in given[start : start + PER_BATCH]]
        keys = list({event["data"]["customer"] for event in some})
        found: dict[str, dict[str, Any]] = {}
        for first in range(0, len(keys), PER_QUERY):
            rows = await connection.fetch(BARE_QUERY, keys[first : first + PER_QUERY])
            found |= {row["id"]: dict(row) for row in rows}
        outputs = []
        for event in some:
            event["data"]["customer"] = found[event["data"]["customer"]]
            event["channel"] = "orders.eu"
            outputs.append(json.dumps(event, separators=(",", ":")).encode())
        assert len(outputs) == len(some)


async def run(dsn: str, folder: Path, count: int, keys: int, rounds: int) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(CUSTOMERS.format(keys=keys))
    file = folder / "customers.csv"
    file.write_text("id,name,tier\n" + "".join(f"C-{n},Customer {n},gold\n" for n in range(keys)))
    given = records(count, keys)
    lookup = {"key": "customer", "into": "data.customer", "missing": "dead_letter"}
    sql = lookup | {"sql": {"url": dsn, "query": QUERY, "batch_size": PER_QUERY}}
    selections = {
        "set a constant": pipeline({"set": {"data.customer": ENRICHED}}),
        "enrich from a file": pipeline({"enrich": lookup | {"file": {"path": str(file)}}}),
        "enrich by SQL, cached": pipeline({"enrich": sql | {"cache": {"ttl": 3600, "size": keys}}}),
        "enrich by SQL, 1,000 keys a batch": pipeline({"enrich": sql | {"cache": {"ttl": 0, "negative_ttl": 0}}}),
    }
    as_services_run()
    works: list[Callable[[], Awaitable[Cost]]] = [lambda: measured(bare(connection, given), count)]
    works += [partial(measure, selection, given) for selection in selections.values()]
    try:
        bare_cost, *costs = await alternate(rounds, *works)
    finally:
        await connection.close()
        for selection in selections.values():
            await selection.close()
    print(f"{count:,} events, {keys:,} keys, {PER_BATCH} events a batch, {rounds} rounds")
    print(f"{'':<40}{'CPU an event':>11}{'events':>14}{'':>4}beside")
    *local, queried = zip(selections, costs, strict=True)
    constant = local[0][1]
    for name, cost in local:
        row(name, cost, "" if cost is constant else f"added {cost.cpu - constant.cpu:+.2f} µs")
    row("bare asyncpg, json.loads and dumps", bare_cost)
    row(*queried, f"of bare {queried[1].cpu / bare_cost.cpu:.2f} x")


def row(name: str, cost: Cost, beside: str = "") -> None:
    print(f"{name:<40}{cost.cpu:>8.2f} µs{cost.rate:>12,.0f}/s    {beside}".rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="how many are processed in each run (50000)")
    parser.add_argument("--keys", type=int, default=50_000, help="rows of the table (50000)")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each (5)")
    given = parser.parse_args()
    with postgres_server("wheel") as server, TemporaryDirectory(prefix="trelay-bench-") as folder:
        uvloop.run(run(server.dsn(), Path(folder), given.events, given.keys, given.rounds))


if __name__ == "__main__":
    main()
