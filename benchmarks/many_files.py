"""Many files in one folder: what the source costs while nothing happens, and how soon it finds a new file.

The whole system layer runs in this process, on a bus in memory: a source of many files, and another one of a single
file that must not be slowed. Measured are the CPU time while nothing changes, the time from a file's creation to its
event, the same for a line of the other source, and the time until all lines of all files are read when they are rotated
at once. With --blind, the folder is not watched, as on a file server: the source only polls.
"""

import argparse
import asyncio
import os
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from unittest import mock

import uvloop
from prometheus_client import CollectorRegistry

from benchmarks.measuring import as_services_run
from services.system_api.operations.controls import SourceControl
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Control
from services.system_api.replicas.membership import Turn
from services.system_api.sources.file.folders.folder_watcher import FolderWatcher, OnPaths
from services.system_api.sources.file.opening import file_source
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.topics import TopicsOptions
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.run import raise_descriptor_limit
from shared.runtime.tasks import Tasks

TOPICS = TopicsOptions(prefix="bench", partitions=1)
IDLE = 20.0
"""Seconds for which nothing changes."""
NEW = 20
"""New files, and lines of the other source, one after another."""


async def blind(_watcher: FolderWatcher, _on_paths: OnPaths) -> None:
    """Stand in for `FolderWatcher.run` on a file system without notifications."""
    await asyncio.Event().wait()


class Deployment:
    """The pollers of some sources, on one bus."""

    def __init__(self, options: dict[str, FileSourceOptions]) -> None:
        self.bus = MemoryBus()
        self.registry = CollectorRegistry()
        self._metrics = SystemMetrics(self.registry, options)
        self._options = options
        self.pollers = {name: self._poller(name) for name in options}

    def _poller(self, name: str) -> Poller:
        rng, options = random.Random(1), self._options[name]
        reporter = Reporter(name, RecordingAlerts(), self._metrics, SYSTEM_CLOCK)
        control = SourceControl(name, MemorySourceStore())
        control.update(Control())
        context = SourceContext(self.bus, TOPICS, SYSTEM_CLOCK, rng)
        opener, leases = file_source(name, options, SYSTEM_CLOCK, rng), Leases(MemoryLeaseStore(), "bench")
        return Poller(options, opener, leases, context, reporter, control, Turn(granted=True))

    def published(self, name: str) -> int:
        """Return the number of events that a source has published."""
        return int(self.registry.get_sample_value("trelay_system_events_published_total", {"source": name}) or 0)

    async def until(self, name: str, count: int) -> float:
        """Wait until a source has published so many events; return the seconds that took."""
        began = time.perf_counter()
        while self.published(name) < count:  # noqa: ASYNC110 -- there is no event for it
            await asyncio.sleep(0.002)
        return time.perf_counter() - began


def options_of(path: Path, mode: str) -> FileSourceOptions:
    """Return the options of a source of the files that match a path."""
    drop = {"drop": {"stable_seconds": 0.5}} if mode == "drop" else {}
    given = {"kind": "file", "path": str(path), "type": "t", "subject": "id", "channel": "files", "mode": mode} | drop
    return FileSourceOptions.model_validate(given)


def append(path: Path, text: str = '{"id":"1"}\n') -> None:
    """Write one line."""
    with path.open("a") as file:
        file.write(text)


async def latencies(deployment: Deployment, name: str, write: Callable[[int], object]) -> str:
    """Measure the time from each write to its event."""
    found = []
    for number in range(NEW):
        count = deployment.published(name) + 1
        await asyncio.to_thread(write, number)
        found.append(await deployment.until(name, count))
        await asyncio.sleep(random.Random(number).uniform(0.1, 0.4))
    return f"p50 {statistics.median(found) * 1000:7.0f} ms, max {max(found) * 1000:7.0f} ms"


async def cpu_of(work: Awaitable[object]) -> float:
    """Return the CPU time of this process for a second of the work, in percent of a core."""
    began, used = time.perf_counter(), time.process_time()
    await work
    return 100 * (time.process_time() - used) / (time.perf_counter() - began)


def rotate(folder: Path, files: int) -> None:
    """Append a line to each file, move it to another folder, and create a new file."""
    old = folder.parent / "old"
    old.mkdir(exist_ok=True)
    for number in range(files):
        path = folder / f"{number}.ndjson"
        append(path)
        path.rename(old / path.name)
        append(path)


async def run(folder: Path, files: int, mode: str, rotated: int) -> None:
    """Measure and print."""
    many, other = folder / "in", folder / "other.ndjson"
    many.mkdir()
    for number in range(files):
        append(many / f"{number}.ndjson")
    append(other)
    deployment = Deployment({"many": options_of(many / "*.ndjson", mode), "other": options_of(other, "tail")})
    await deployment.bus.ensure_topics(TOPICS.all())
    as_services_run()
    async with Tasks() as tasks:
        for name, poller in deployment.pollers.items():
            tasks.keep(name, poller.run())
        print(
            f"{'other source while they are read':<44}{await latencies(deployment, 'other', lambda _: append(other))}"
        )
        took = await deployment.until("many", files)
        print(f"{'first read of all files':<44}{took:.1f} s after that")
        print(f"{'idle':<44}{await cpu_of(asyncio.sleep(IDLE)):.1f} % of a core")
        print(f"{'new file':<44}{await latencies(deployment, 'many', lambda n: append(many / f'new-{n}.ndjson'))}")
        print(f"{'other source':<44}{await latencies(deployment, 'other', lambda _: append(other))}")
        if rotated:
            count = deployment.published("many") + 2 * rotated
            began = time.perf_counter()
            await asyncio.to_thread(rotate, many, rotated)
            wrote = time.perf_counter() - began
            took = await deployment.until("many", count)
            text = f"all {2 * rotated:,} lines, {took:.1f} s after {wrote:.1f} s of writing"
            print(f"{f'{rotated:,} files rotated at once':<44}{text}")
            losses = deployment.registry.get_sample_value("trelay_source_losses_total", {"source": "many"})
            assert losses == 0, f"{losses} losses"
        print(f"{'maximum memory':<44}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000, help="files in the folder (100000)")
    parser.add_argument("--rotated", type=int, default=10_000, help="files that are rotated at once (10000)")
    parser.add_argument("--modes", nargs="+", default=["tail", "drop"], help="modes of the source (tail drop)")
    parser.add_argument("--blind", action="store_true", help="do not watch the folder")
    arguments = parser.parse_args()
    raise_descriptor_limit()
    for mode in arguments.modes:
        print(f"{arguments.files:,} files in one folder, mode {mode}{', not watched' if arguments.blind else ''}")
        with tempfile.TemporaryDirectory(prefix="trelay-bench-", dir=os.environ.get("TMPDIR")) as folder:
            rotated = arguments.rotated if mode == "tail" else 0
            work = run(Path(folder), arguments.files, mode, rotated)
            if arguments.blind:
                with mock.patch.object(FolderWatcher, "run", blind):
                    uvloop.run(work)
            else:
                uvloop.run(work)


if __name__ == "__main__":
    main()
