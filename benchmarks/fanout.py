"""Measures one event to a thousand subscribers: CPU of the whole experience layer, from the bus to the sockets, next
to a bare loop of `send` in C that writes as many bytes to as many sockets, in the same run and at the same pace.

The layer runs in its own process, reads a real bus, and serves 1,000 real connections. The peers are a C program in
another process. Events of 200 bytes are published one at a time, and fifty in one transaction. The figure is all CPU
time of the layer's process, including the kernel, per delivery. The two alternate, and the medians are compared. The
rows `compressed` are of peers that offer permessage-deflate: an event is compressed once for all of them.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvloop

from benchmarks.children import Child, child
from benchmarks.fanout_layer import TOPIC
from benchmarks.native import compiled
from benchmarks.probing import CHANNEL, EVENT_BYTES
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.frames import event_frame
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus, Outgoing, Transaction
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.events.headers import headers_of
from tests.servers.kafka import kafka_server
from tests.servers.postgres import postgres_server

PAUSES = {1: 0.03, 50: 0.1}
"""Seconds between transactions, by their size: enough for the peers to read on the other core."""
BUSES = ("kafka", "postgres")
OFFER = "permessage-deflate; client_max_window_bits"
"""What the peers of the compressed runs offer, as browsers do."""


class Size(NamedTuple):
    """The size of a run."""

    connections: int
    rounds: int
    """Transactions in one turn."""
    turns: int


def event(number: int) -> Outgoing:
    """Return an event of 200 bytes, as the services write it."""
    head = b'{"specversion":"1.0","id":"bench:%08d","source":"/sources/bench","type":"bench","data":{"fill":"' % number
    value = head + b"x" * (EVENT_BYTES - len(head) - 3) + b'"}}'
    return Outgoing(CHANNEL, value, headers_of(b"bench 1700000000000 bench:%08d" % number))


def frame_bytes() -> int:
    """Return the bytes of one such event on the wire."""
    cursor = CursorCodec("epoch", TOPIC.partitions).encode([10_000] * TOPIC.partitions)
    return len(event_frame(event(0).value or b"", cursor))


@asynccontextmanager
async def real_bus(kind: str) -> AsyncIterator[tuple[Bus, str, str]]:
    """Open a bus with the publish topic; yield it with the options another process needs to connect."""
    if kind == "kafka":
        with kafka_server() as server:
            options: BusOptions = KafkaOptions(kind="kafka", servers=server.bootstrap)
            async with _ready(options, DatabaseOptions()) as ready:
                yield ready
    else:
        with postgres_server() as server:
            database = DatabaseOptions(url=server.dsn())
            await migrate(database)
            async with _ready(PostgresBusOptions(), database) as ready:
                yield ready


@asynccontextmanager
async def _ready(options: BusOptions, database: DatabaseOptions) -> AsyncIterator[tuple[Bus, str, str]]:
    async with connect(options, database) as bus:
        await bus.ensure_topics([TOPIC])
        secrets = database.model_dump(mode="json", exclude_none=True)
        yield bus, options.model_dump_json(), json.dumps(secrets)


async def layer_turn(layer: Child, bus: Bus, size: Size, burst: int) -> float:
    """Publish for one turn; return the microseconds of CPU per delivery."""
    layer.tell(f"deliver {size.rounds * burst * size.connections}")
    async with bus.writer("bench") as writer:
        for start in range(0, size.rounds * burst, burst):
            transaction = Transaction()
            for number in range(start, start + burst):
                transaction.append(TOPIC.name, *event(number))
            await writer.commit(transaction)
            await asyncio.sleep(PAUSES[burst])
        spent = await asyncio.to_thread(layer.hear)
    return spent / 1000 / (size.rounds * burst * size.connections)


async def bare_turn(folder: Path, size: Size, burst: int) -> float:
    """Run the C loop for one turn; return the microseconds of CPU per delivery."""
    arguments = (size.connections, frame_bytes() * burst, size.rounds, int(PAUSES[burst] * 1e6))
    with child(str(folder / "send_loop"), *map(str, arguments)) as loop:
        port = loop.hear()
        with child(str(folder / "peers"), str(port), str(size.connections)):
            spent = await asyncio.to_thread(loop.hear)
    return spent / 1000 / burst


async def measure(kind: str, folder: Path, size: Size) -> None:
    """Print the figures for one bus."""
    async with real_bus(kind) as (bus, options, database):
        for offer in ("", OFFER):
            command = (sys.executable, "-m", "benchmarks.fanout_layer", "layer", options, database)
            with child(*command) as layer:
                port = await asyncio.to_thread(layer.hear)
                with child(str(folder / "peers"), str(port), str(size.connections), offer):
                    await asyncio.to_thread(layer.ask, f"connected {size.connections}")
                    await layer_turn(layer, bus, size._replace(rounds=10), 1)  # warms up
                    for burst in PAUSES:
                        ours, bare = [], []
                        for _ in range(size.turns):
                            bare.append(await bare_turn(folder, size, burst))
                            ours.append(await layer_turn(layer, bus, size, burst))
                        report(kind, burst, statistics.median(ours), statistics.median(bare), compressed=bool(offer))


def report(kind: str, burst: int, ours: float, bare: float, *, compressed: bool) -> None:
    how = "one at a time" if burst == 1 else f"{burst} in one transaction"
    form = "compressed" if compressed else "plain"
    print(
        f"{kind:9} {how:22} {form:10} "
        f"layer {ours:6.2f} µs per delivery   C send loop {bare:6.2f}   ratio {ours / bare:.2f}",
        flush=True,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bus", choices=BUSES, nargs="*", default=BUSES)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    size = Size(chosen.connections, chosen.rounds, chosen.turns)
    print(f"{size.connections} connections, events of {EVENT_BYTES} bytes in frames of {frame_bytes()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("peers", "send_loop"):
            compiled(program, folder)
        for kind in chosen.bus:
            await measure(kind, folder, size)


if __name__ == "__main__":
    uvloop.run(main())
