"""Measures what kinds of subscribers cost: filters, conflation, TLS and plain ones, and how long a delivery takes.

The layer runs in its own process, reads a real bus, and serves real connections of peers in another process. The first
figure is all CPU of the layer's process, the kernel's included, an event: of 200 bytes, one at a time. The row `one
connection` is the fixed cost: what fetching, decoding and waking up take without the deliveries; on Kafka, beside that
of a consumer of aiokafka which drops the same events. The bare loops are those of `fanout` and `tls_loop`: as many
bytes to as many sockets, at the same pace. Delays are of probes among the peers, from before the transaction to their
sockets.
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

import trustme
import uvloop

from benchmarks.children import Child, child
from benchmarks.fanout import BUSES, Size, bare_turn, frame_bytes, real_bus
from benchmarks.fanout_layer import TOPIC
from benchmarks.native import compiled
from benchmarks.probing import Probe, percentile, probes, stamped
from shared.bus.protocol import Bus, Transaction, Writer

PAUSE = 0.03
"""Seconds between events, as in `fanout`."""
BEATS = 0.02
"""Seconds between transactions at a steady rate."""


class Kind(NamedTuple):
    """A kind of subscribers."""

    name: str
    path: str
    tls: bool = False
    alone: bool = False
    """Whether there is one of them, and not as many as the others."""


KINDS = (
    Kind("one connection", "/?number=", alone=True),
    Kind("plain", "/?number="),
    Kind("one filter for all", "/?filter=one&number="),
    Kind("a filter for each", "/?filter=own&number="),
    Kind("conflated, 500 ms", "/?conflate=0.5&number="),
    Kind("TLS", "/", tls=True),
)


class Numbers:
    """Numbers the events of a run."""

    def __init__(self, subjects: int = 100) -> None:
        self.next = 0
        self.subjects = subjects

    def transaction(self, events: int) -> Transaction:
        transaction = Transaction()
        for _ in range(events):
            transaction.append(TOPIC.name, *stamped(self.next, self.subjects))
            self.next += 1
        return transaction


@asynccontextmanager
async def live_events(writer: Writer, numbers: Numbers, rate: int) -> AsyncIterator[None]:
    """Write events at a rate, in events a second, for as long as the context lasts."""
    loop, enough = asyncio.get_running_loop(), asyncio.Event()

    async def write() -> None:
        began, first = loop.time(), numbers.next
        while not enough.is_set():
            await writer.commit(numbers.transaction(max(1, int(rate * BEATS))))
            await asyncio.sleep(max(0.0, began + (numbers.next - first) / rate - loop.time()))

    task = asyncio.ensure_future(write())
    try:
        yield
    finally:
        enough.set()
        await task


@asynccontextmanager
async def layer_of(
    bus: tuple[Bus, str, str], certificate: str = "", latest: str = ""
) -> AsyncIterator[tuple[Child, int]]:
    """Run the process under test; yield it with its port. `latest` are settings of the latest events."""
    command = (sys.executable, "-m", "benchmarks.fanout_layer", "layer", *bus[1:], certificate, latest)
    with child(*command) as layer:
        yield layer, await asyncio.to_thread(layer.hear)


async def turn(layer: Child, bus: Bus, probe: Probe, numbers: Numbers, rounds: int) -> float:
    """Publish events one at a time; return the microseconds of CPU an event."""
    before = await asyncio.to_thread(layer.ask, "cpu")
    async with bus.writer("bench") as writer:
        for _ in range(rounds):
            await writer.commit(numbers.transaction(1))
            await asyncio.sleep(PAUSE)
    await probe.reached(numbers.next - 1)
    return (await asyncio.to_thread(layer.ask, "cpu") - before) / 1000 / rounds


async def cost(bus: tuple[Bus, str, str], kind: Kind, folder: Path, size: Size) -> float:
    """Return the microseconds of CPU an event of one kind of subscribers, one of which is the probe."""
    certificate = str(folder / "certificate.pem") if kind.tls else ""
    peers = 1 if kind.alone else size.connections
    async with layer_of(bus, certificate) as (layer, port):
        python = (sys.executable, "-m", "benchmarks.tls_peers")
        program = (*python, str(port), str(peers)) if kind.tls else _peers(folder, port, peers, kind.path)
        with child(*program):
            await asyncio.to_thread(layer.ask, f"connected {peers}")
            numbers = Numbers()
            if kind.tls:
                return await _without_probe(layer, bus[0], numbers, size, peers)
            query = kind.path.removeprefix("/?").removesuffix("number=").replace("filter=own", "filter=one")
            async with probes(port, 1, "" if "conflate" in query else query) as [probe]:
                await turn(layer, bus[0], probe, numbers, 10)  # warms up
                found = [await turn(layer, bus[0], probe, numbers, size.rounds) for _ in range(size.turns)]
                return statistics.median(found)


async def _without_probe(layer: Child, bus: Bus, numbers: Numbers, size: Size, peers: int) -> float:
    found = []
    async with bus.writer("bench") as writer:
        for rounds in (10, *[size.rounds] * size.turns):
            layer.tell(f"deliver {rounds * peers}")
            for _ in range(rounds):
                await writer.commit(numbers.transaction(1))
                await asyncio.sleep(PAUSE)
            found.append(await asyncio.to_thread(layer.hear) / 1000 / rounds)
    return statistics.median(found[1:])


async def bare_tls(folder: Path, size: Size) -> float:
    """Run the loop over TLS; return the microseconds of CPU an event."""
    certificate = str(folder / "certificate.pem")
    numbers = (size.connections, frame_bytes(), size.rounds, PAUSE)
    with child(sys.executable, "-m", "benchmarks.tls_loop", certificate, *map(str, numbers)) as loop:
        port = await asyncio.to_thread(loop.hear)
        with child(sys.executable, "-m", "benchmarks.tls_peers", str(port), str(size.connections)):
            return await asyncio.to_thread(loop.hear) / 1000 * size.connections


async def delays(bus: tuple[Bus, str, str], folder: Path, connections: int, rate: int, seconds: float) -> list[float]:
    """Publish at a steady rate; return the milliseconds that ten probes among the peers waited for each event."""
    async with layer_of(bus) as (layer, port):
        with child(*_peers(folder, port, connections - 10)):
            await asyncio.to_thread(layer.ask, f"connected {connections - 10}")
            async with probes(port, 10) as found, bus[0].writer("bench") as writer:
                numbers, loop = Numbers(), asyncio.get_running_loop()
                began, warm = loop.time(), int(rate * 1.0)
                while numbers.next < warm + rate * seconds:
                    await writer.commit(numbers.transaction(int(rate * BEATS)))
                    await asyncio.sleep(max(0.0, began + numbers.next / rate - loop.time()))
                for probe in found:
                    await probe.reached(numbers.next - 1)
                return [delay for probe in found for delay in probe.delays[warm:]]


async def bare_consumer(bus: tuple[Bus, str, str], size: Size) -> float:
    """Return the microseconds of CPU an event of a consumer that drops it."""
    servers = json.loads(bus[1])["servers"]
    with child(sys.executable, "-m", "benchmarks.consumer", servers, TOPIC.name) as consumer:
        await asyncio.to_thread(consumer.ask, "ready")
        numbers, found = Numbers(), []
        async with bus[0].writer("bench") as writer:
            for rounds in (10, *[size.rounds] * size.turns):
                before = await asyncio.to_thread(consumer.ask, "cpu")
                for _ in range(rounds):
                    await writer.commit(numbers.transaction(1))
                    await asyncio.sleep(PAUSE)
                found.append((await asyncio.to_thread(consumer.ask, "cpu") - before) / 1000 / rounds)
    return statistics.median(found[1:])


def _peers(folder: Path, port: int, count: int, path: str = "/?number=") -> tuple[str, ...]:
    return (str(folder / "peers"), str(port), str(count), "", path)


async def measure(kind: str, folder: Path, size: Size, rate: int, seconds: float) -> None:
    """Print the figures for one bus."""
    async with real_bus(kind) as bus:
        bare = statistics.median([await bare_turn(folder, size, 1) for _ in range(size.turns)]) * size.connections
        limit = statistics.median([await bare_tls(folder, size) for _ in range(size.turns)])
        print(f"{kind:9} {'C send loop':22} {bare:9.0f} µs an event", flush=True)
        print(f"{kind:9} {'TLS write loop':22} {limit:9.0f} µs an event", flush=True)
        if kind == "kafka":
            print(f"{kind:9} {'aiokafka consumer':22} {await bare_consumer(bus, size):9.0f} µs an event", flush=True)
        for each in KINDS:
            found = await cost(bus, each, folder, size)
            beside = "" if each.alone else f"   ratio {found / (limit if each.tls else bare):.2f}"
            print(f"{kind:9} {each.name:22} {found:9.0f} µs an event{beside}", flush=True)
        found_delays = await delays(bus, folder, size.connections, rate, seconds)
        p50, p99 = (percentile(found_delays, share) for share in (0.5, 0.99))
        what = f"{rate} events/s to {size.connections} connections"
        print(f"{kind:9} {what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bus", choices=BUSES, nargs="*", default=["postgres"])
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rate", type=int, default=1000, help="events a second, for the delays")
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args()
    size = Size(chosen.connections, chosen.rounds, chosen.turns)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("peers", "send_loop"):
            compiled(program, folder)
        trustme.CA().issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "certificate.pem")
        for kind in chosen.bus:
            await measure(kind, folder, size, chosen.rate, chosen.seconds)


if __name__ == "__main__":
    uvloop.run(main())
