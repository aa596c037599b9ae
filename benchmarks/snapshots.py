"""Measures snapshots: how fast the latest events are copied to the database, and a crowd that asks for them at once.

    copied      events a second that the copier writes to the table: of new subjects, of the same, and of a hundred
    snapshots   seconds until all of a crowd have the state, and the delays of a live subscriber meanwhile

The copier runs in this process, with the default settings, beside the writer. The layer and the peers run in their own
processes; the database is on this machine.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from benchmarks.children import child
from benchmarks.fanout import real_bus
from benchmarks.fanout_layer import TOPIC
from benchmarks.native import compiled
from benchmarks.probing import delays_during, percentile, probes
from benchmarks.subscribers import Numbers, layer_of, live_events
from services.experience_api.latest.copying import Copier
from services.experience_api.latest.opening import Latest, opened
from services.experience_api.latest.options import LatestOptions
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from shared.lease import Leases, PostgresLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

Ready = tuple[Bus, str, str]

OPTIONS = LatestOptions(channels=("bench.*",))
PER_TRANSACTION = 1000
_POLL = 0.005


@asynccontextmanager
async def copying(bus: Ready) -> AsyncIterator[Latest]:
    """Copy the latest events for as long as the context lasts."""
    database = DatabaseOptions.model_validate_json(bus[2])
    async with (
        opened(OPTIONS, database) as latest,
        PostgresLeaseStore.opened(database) as leases,
        Tasks() as tasks,
    ):
        assert latest is not None
        copier = Copier(latest.store, Leases(leases, "bench"), OPTIONS, SYSTEM_CLOCK, latest.counts, TOPIC.name)
        _ = tasks.start("copier", copier.run(bus[0]))
        yield latest


async def publish(bus: Bus, numbers: Numbers, count: int) -> None:
    async with bus.writer("bench") as writer:
        while count > 0:
            await writer.commit(numbers.transaction(min(count, PER_TRANSACTION)))
            count -= PER_TRANSACTION


async def copied(bus: Ready, name: str, numbers: Numbers, count: int) -> None:
    """Publish events that nothing copies, then copy them; print the rate."""
    await publish(bus[0], numbers, count)
    ends = {partition: end for partition, (_, end) in (await bus[0].bounds(TOPIC.name)).items()}
    async with copying(bus) as latest:
        while not latest.counts.positions:  # noqa: ASYNC110 -- until it has the lease; only a benchmark polls it
            await asyncio.sleep(_POLL)
        began, cpu = time.perf_counter(), time.process_time()
        while latest.counts.positions != ends:  # noqa: ASYNC110 -- the same
            await asyncio.sleep(_POLL)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    rate, each = count / took, cpu / count * 1e6
    print(f"copied     {count:,} events, {name}: {rate:,.0f}/s, CPU {each:.1f} µs an event", flush=True)


async def crowd(bus: Ready, peers: Path, count: int, numbers: Numbers, rate: int, rest: float) -> None:
    """Print the snapshots a second, and the delays of a live subscriber without and with the crowd."""
    async with (
        copying(bus),
        layer_of(bus, latest=OPTIONS.model_dump_json()) as (layer, port),
        probes(port, 1) as [probe],
        bus[0].writer("bench") as writer,
        live_events(writer, numbers, rate),
    ):
        quiet = await delays_during(probe, asyncio.sleep(rest))
        began, cpu = time.perf_counter(), await asyncio.to_thread(layer.ask, "cpu")
        with child(str(peers), str(port), str(count), "", "/?snapshot=true&number="):
            sending = asyncio.ensure_future(asyncio.to_thread(layer.ask, f"snapshots {count}"))
            crowded = await delays_during(probe, sending)
            took = time.perf_counter() - began
            cpu = await asyncio.to_thread(layer.ask, "cpu") - cpu
    sent = sending.result()
    what = f"{count:,} at once, {sent / count:,.0f} events each, in {took:.1f} s"
    each = f"{sent / took:,.0f} events/s, CPU {cpu / sent / 1000:.1f} µs an event"
    print(f"snapshots  {what}: {count / took:,.1f}/s, {each}", flush=True)
    for name, found in (("quiet", quiet), ("beside the snapshots", crowded)):
        p50, p99 = (percentile(found, share) for share in (0.5, 0.99))
        print(f"snapshots  live events at {rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({name})", flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=200, help="snapshots at once (200)")
    parser.add_argument("--subjects", type=int, default=5000, help="of the state (5000)")
    parser.add_argument("--rate", type=int, default=100, help="live events a second (100)")
    parser.add_argument("--rest", type=float, default=10.0, help="seconds without the crowd (10)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = compiled("peers", Path(folder))
        async with real_bus("postgres") as bus:
            numbers, few = Numbers(chosen.subjects), Numbers()
            await copied(bus, "new subjects", numbers, chosen.subjects)
            await copied(bus, "the same subjects", numbers, chosen.subjects)
            await copied(bus, f"{few.subjects} subjects", few, chosen.subjects)
            await crowd(bus, peers, chosen.connections, numbers, chosen.rate, chosen.rest)


if __name__ == "__main__":
    uvloop.run(main())
