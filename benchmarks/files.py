"""CSV and Parquet files to the publish topic, exactly once, compared with minimal loops on the same server.

Measures the CPU time of this process for an event of 1 KB (without that of the server), and the rate. The system layer
runs completely: the poller with its lease, the file source with its checks, and transactions of 1,000 events with
rejects and checkpoint, two in flight. The bare loops read rows with `csv` and with `pyarrow`, encode each with `json`,
prepend a constant head to it and write whole batches in aiokafka's transactions, with two alternating producers. They
check nothing. The measurements alternate, and the medians are compared.
"""

import argparse
import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import uvloop

from benchmarks.bare import PER_TRANSACTION, BareRecords, bare_record, publish_bare
from benchmarks.file_formats import WRITERS
from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line
from benchmarks.polling import polled
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from shared.bus.kafka import KafkaOptions
from shared.database.options import DatabaseOptions
from tests.servers.kafka import kafka_server

DROP = {"mode": "drop", "drop": {"ready": "stable", "stable_seconds": 0}}


def rows_of_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="") as file:
        yield from csv.DictReader(file)


def rows_of_parquet(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PER_TRANSACTION, use_threads=False):
            yield from batch.to_pylist()


READERS: dict[str, tuple[str, Callable[[Path], Iterable[dict[str, Any]]], dict[str, Any]]] = {
    "csv": ("csv", rows_of_csv, {}),
    "parquet": ("pyarrow", rows_of_parquet, DROP),
}
"""By extension: the bare library, how it reads, and settings of the source."""


def bare_rows(rows: Iterable[dict[str, Any]]) -> Iterator[BareRecords]:
    """Yield the values and headers of one transaction at a time."""
    numbered = enumerate(rows)
    while batch := list(islice(numbered, PER_TRANSACTION)):
        yield [bare_record(b"%d" % number, json.dumps(row, ensure_ascii=False).encode()) for number, row in batch]


async def system_layer(path: Path, events: int, servers: str, settings: dict[str, Any]) -> Cost:
    given = {"kind": "file", "path": str(path), "type": "order.updated", "subject": "id", "channel": "orders.eu"}
    options = FileSourceOptions.model_validate({**given, "batch": PER_TRANSACTION, **settings})
    return await polled(file_source, options, events, KafkaOptions(servers=servers), DatabaseOptions())


async def run(folder: Path, kinds: list[str], events: int, rounds: int, servers: str) -> None:
    as_services_run()
    print(f"{events:,} rows of 1 KB to the publish topic, {PER_TRANSACTION} a transaction, {rounds} rounds")
    print(HEADING)
    for kind in kinds:
        await compare(kind, folder / f"orders.{kind}", events, rounds, servers)


async def compare(kind: str, path: Path, events: int, rounds: int, servers: str) -> None:
    library, read, settings = READERS[kind]
    WRITERS[kind](path, events)
    bare, ours = await alternate(
        rounds,
        lambda: publish_bare(bare_rows(read(path)), events, servers),
        lambda: system_layer(path, events, servers, settings),
    )
    print(line(f"{kind}, bare {library}, json and aiokafka", bare, bare))
    print(line(f"{kind}, system layer", ours, bare), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", action="append", choices=list(READERS), help="a format; all by default")
    parser.add_argument("--events", type=int, default=50_000, help="rows of each file (50000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    kinds = arguments.kind or list(READERS)
    with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder, kafka_server(quick_start=False) as kafka:
        uvloop.run(run(Path(folder), kinds, arguments.events, arguments.rounds, kafka.bootstrap))


if __name__ == "__main__":
    main()
