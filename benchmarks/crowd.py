"""Measures crowds: connections that come at once, that are idle, and that resume at once beside live traffic.

    connects    seconds until 10,000 upgrades are done, beside aiohttp alone
    idle        memory and CPU of 10,000 connections that receive nothing, in a time with heartbeats
    resumes     delays of a live subscriber while 10,000 connections resume from the history at once

Each layer runs in its own process; the peers are a C program in another one.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from benchmarks.children import Child, child
from benchmarks.fanout import real_bus
from benchmarks.native import compiled
from benchmarks.probing import delays_during, percentile, probes
from benchmarks.subscribers import Numbers, layer_of, live_events
from shared.bus.protocol import Bus


async def arrivals(layer: Child, port: int, peers: Path, count: int, before: int = 0) -> float:
    """Connect a crowd and return the connections a second; the crowd leaves again."""
    began = time.perf_counter()
    with child(str(peers), str(port), str(count)):
        await asyncio.to_thread(layer.ask, f"connected {before + count}")
        return count / (time.perf_counter() - began)


async def connects(bus: tuple[Bus, str, str], peers: Path, count: int) -> None:
    """Print the arrivals a second, beside those of aiohttp alone."""
    async with layer_of(bus) as (layer, port):
        ours = await arrivals(layer, port, peers, count)
    with child(*_bare()) as bare:
        alone = await arrivals(bare, await asyncio.to_thread(bare.hear), peers, count)
    beside = f"aiohttp alone {alone:,.0f}/s, ratio {alone / ours:.2f}"
    print(f"connects  {count:,} at once: {ours:,.0f}/s, {beside}", flush=True)


async def idle(bus: tuple[Bus, str, str], peers: Path, count: int, seconds: float) -> None:
    """Print the memory of each idle connection, and the CPU of them all."""
    async with layer_of(bus) as (layer, port):
        with child(str(peers), str(port), "200"):
            await asyncio.to_thread(layer.ask, "connected 200")
            before, rest = await asyncio.to_thread(layer.ask, "memory"), await _cpu(layer, seconds)
            with child(str(peers), str(port), str(count)):
                await asyncio.to_thread(layer.ask, f"connected {200 + count}")
                each = (await asyncio.to_thread(layer.ask, "memory") - before) / count / 1024
                busy = await _cpu(layer, seconds)
    print(f"idle      {count:,} connections: {each:.1f} KiB each", flush=True)
    print(f"idle      CPU at rest {busy:.2f} % of a core, with 200 connections {rest:.2f} %", flush=True)


async def resumes(bus: tuple[Bus, str, str], peers: Path, count: int, rate: int, behind: int) -> None:
    """Print the delays of a live subscriber without and with a crowd that resumes `behind` events back."""
    async with layer_of(bus) as (layer, port), probes(port, 1) as [probe], bus[0].writer("bench") as writer:
        numbers = Numbers()
        cursor = probe.cursor
        for _ in range(behind // 100):
            await writer.commit(numbers.transaction(100))
        await probe.reached(numbers.next - 1)
        async with live_events(writer, numbers, rate):
            quiet = await delays_during(probe, asyncio.sleep(10))
            began = time.perf_counter()
            with child(str(peers), str(port), str(count), "", f"/?cursor={cursor}&number="):
                crowded = await delays_during(probe, _all_caught_up(layer, count))
                took = time.perf_counter() - began
    for name, found in (("quiet", quiet), (f"{count:,} resume, {behind:,} events each, in {took:.1f} s", crowded)):
        p50, p99 = (percentile(found, share) for share in (0.5, 0.99))
        print(f"resumes   live events at {rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({name})", flush=True)


async def _all_caught_up(layer: Child, count: int) -> None:
    await asyncio.to_thread(layer.ask, f"connected {count + 1}")
    await asyncio.to_thread(layer.ask, "live")


async def _cpu(layer: Child, seconds: float) -> float:
    before = await asyncio.to_thread(layer.ask, "cpu")
    await asyncio.sleep(seconds)
    return (await asyncio.to_thread(layer.ask, "cpu") - before) / seconds / 1e7


def _bare() -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.fanout_layer", "bare", "25.0", "")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=30.0, help="of rest")
    parser.add_argument("--rate", type=int, default=100, help="live events a second")
    parser.add_argument("--behind", type=int, default=100, help="events that each connection resumes")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = compiled("peers", Path(folder))
        async with real_bus("postgres") as bus:
            await connects(bus, peers, chosen.connections)
            await idle(bus, peers, chosen.connections, chosen.seconds)
            await resumes(bus, peers, chosen.connections, chosen.rate, chosen.behind)


if __name__ == "__main__":
    uvloop.run(main())
