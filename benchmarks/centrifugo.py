"""Measures one event to a thousand subscribers beside Centrifugo, which reads the same records from the same Kafka.

Each server runs in its own process and serves as many connections of the same peers: Trelay's experience layer, and
Centrifugo over its unidirectional WebSocket, which may join messages in a frame. It runs with and without its history:
only with that can a subscriber resume, for as long as the node lives and the history lasts; Trelay's subscribers always
can. Events of 200 bytes are written one at a time, and fifty in one transaction. The figures are all CPU of a server's
process, the kernel's included, for each delivery, and the milliseconds from before a transaction to one probe among the
peers. The servers take turns.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import uvloop

from benchmarks.children import child
from benchmarks.fanout import PAUSES, Size, bare_turn, real_bus
from benchmarks.fanout_layer import TOPIC
from benchmarks.native import compiled
from benchmarks.probing import CHANNEL, Probe, percentile, probes, stamped
from benchmarks.subscribers import layer_of
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Bus, Outgoing, TopicOptions, Transaction, Writer
from tests.servers.centrifugo import centrifugo_server

_HISTORY = {"history_size": 1000, "history_ttl": "300s", "force_recovery": True}
_CONNECT = quote(json.dumps({"subs": {CHANNEL.decode(): {}}}, separators=(",", ":")))
_ENDPOINT = f"/connection/uni_websocket?cf_connect={_CONNECT}"


class CentrifugoProbe(Probe):
    """A subscriber of Centrifugo."""

    async def read(self, http: aiohttp.ClientSession, url: str) -> None:
        async with http.ws_connect(url, max_msg_size=0) as socket:
            async for message in socket:
                arrived = time.monotonic_ns()
                for frame in map(json.loads, message.data.splitlines()):
                    if "connect" in frame:
                        self.cursor = "connected"
                    elif "pub" in frame:
                        data = frame["pub"]["data"]["data"]
                        self.number = data["number"]
                        self.delays.append((arrived - data["at"]) / 1e6)
                self.noticed()


class Served(NamedTuple):
    """A server with its peers connected."""

    topic: str
    probe: Probe
    cpu: Callable[[], Awaitable[float]]
    """Returns the seconds of CPU that it has taken."""


class Figures(NamedTuple):
    """What one turn took."""

    cpu: float
    """Microseconds a delivery."""
    delays: list[float]
    """Milliseconds, of each event."""


class Numbers:
    """Numbers the events of a run."""

    def __init__(self) -> None:
        self.next = 0

    def transaction(self, topic: str, events: int) -> Transaction:
        transaction = Transaction()
        for _ in range(events):
            key, value, headers = stamped(self.next)
            transaction.append(topic, *Outgoing(key, value, (*headers, ("centrifugo-channels", CHANNEL))))
            self.next += 1
        return transaction


@asynccontextmanager
async def trelay(bus: tuple[Bus, str, str], folder: Path, connections: int) -> AsyncIterator[Served]:
    """Run the experience layer with its peers."""
    async with layer_of(bus) as (layer, port):
        with _peers(folder, port, connections - 1, "/?number="):
            await asyncio.to_thread(layer.ask, f"connected {connections - 1}")
            async with probes(port, 1) as [probe]:

                async def cpu() -> float:
                    return await asyncio.to_thread(layer.ask, "cpu") / 1e9

                yield Served(TOPIC.name, probe, cpu)


@asynccontextmanager
async def centrifugo(
    bus: tuple[Bus, str, str], folder: Path, connections: int, channel: dict[str, Any]
) -> AsyncIterator[Served]:
    """Run Centrifugo with its peers, on a topic of its own."""
    topic = f"centrifugo-{len(channel)}"
    await bus[0].ensure_topics([TopicOptions(name=topic, partitions=TOPIC.partitions)])
    servers = KafkaOptions.model_validate_json(bus[1]).servers
    with (
        centrifugo_server(servers, topic, channel) as server,
        _peers(folder, server.port, connections - 1, f"{_ENDPOINT}&number="),
    ):
        async with aiohttp.ClientSession() as http:
            probe = CentrifugoProbe()
            reading = asyncio.ensure_future(probe.read(http, f"http://127.0.0.1:{server.port}{_ENDPOINT}"))
            try:
                await probe.reached(-1)
                while await _clients(http, server.port) < connections:  # noqa: ASYNC110 -- only a benchmark polls it
                    await asyncio.sleep(0.05)

                async def cpu() -> float:
                    return server.cpu()

                yield Served(topic, probe, cpu)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _clients(http: aiohttp.ClientSession, port: int) -> int:
    async with http.post(f"http://127.0.0.1:{port}/api/info", json={}) as response:
        nodes = (await response.json())["result"]["nodes"]
        return sum(node.get("num_clients", 0) for node in nodes)


@contextmanager
def _peers(folder: Path, port: int, count: int, path: str) -> Iterator[None]:
    with child(str(folder / "peers"), str(port), str(count), "", path):
        yield


async def turn(served: Served, writer: Writer, numbers: Numbers, size: Size, burst: int) -> Figures:
    """Write for one turn, and return what it took."""
    served.probe.delays.clear()
    before = await served.cpu()
    for _ in range(size.rounds):
        await writer.commit(numbers.transaction(served.topic, burst))
        await asyncio.sleep(PAUSES[burst])
    await served.probe.reached(numbers.next - 1)
    spent = await served.cpu() - before
    return Figures(spent * 1e6 / (size.rounds * burst * size.connections), list(served.probe.delays))


async def measure(folder: Path, size: Size) -> None:
    """Print the figures."""
    numbers = Numbers()
    async with (
        real_bus("kafka") as bus,
        bus[0].writer("bench") as writer,
        trelay(bus, folder, size.connections) as ours,
        centrifugo(bus, folder, size.connections, {}) as plain,
        centrifugo(bus, folder, size.connections, _HISTORY) as recovering,
    ):
        servers = {"Trelay": ours, "Centrifugo": plain, "Centrifugo, history": recovering}
        for served in servers.values():
            await turn(served, writer, numbers, size._replace(rounds=10), 1)  # warms up
        for burst in PAUSES:
            found: dict[str, list[Figures]] = {name: [] for name in servers}
            bare = []
            for _ in range(size.turns):
                bare.append(await bare_turn(folder, size, burst))
                for name, served in servers.items():
                    found[name].append(await turn(served, writer, numbers, size, burst))
            report(burst, statistics.median(bare), found)


def report(burst: int, bare: float, found: dict[str, list[Figures]]) -> None:
    how = "one at a time" if burst == 1 else f"{burst} in one transaction"
    print(f"{how:22} {'C send loop':20} {bare:6.2f} µs per delivery", flush=True)
    ours = statistics.median(figures.cpu for figures in found["Trelay"])
    for name, turns in found.items():
        cpu = statistics.median(figures.cpu for figures in turns)
        delays = [delay for figures in turns for delay in figures.delays]
        p50, p99 = percentile(delays, 0.5), percentile(delays, 0.99)
        print(
            f"{how:22} {name:20} {cpu:6.2f} µs per delivery   {cpu / bare:5.2f} of the loop   {cpu / ours:5.2f} of"
            f" Trelay   p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            flush=True,
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for program in ("peers", "send_loop"):
            compiled(program, folder)
        await measure(folder, Size(chosen.connections, chosen.rounds, chosen.turns))


if __name__ == "__main__":
    uvloop.run(main())
