"""The steps that keep state, with a million keys: CPU an event, memory, and how fast state is restored.

Each row runs in a process of its own, on the same events of 200 bytes. A step of Trelay commits its state every 1,000
events, without the bus; `memory` and `disk` say where the state is kept. How to read it:

- `bare` does the least that gives the same result: `json.loads` and a dict, which no crash survives. `of bare` is the
  ratio of the CPU.
- `Bytewax` does what comes closest (`bytewax_flows.py` tells what). It is installed into a virtual environment of its
  own under `var/benchmarks`. `of Bytewax` is the ratio of the CPU to its. It keeps nothing for a restart, and its map
  with state knows no time. Its windows take time in proportion to the keys, and so have a row with few of them.
- `restore` reads a changelog of as many keys from Kafka, as a partition does that moves to another replica. Its bare
  row is a consumer that fills a dict; `events` is keys a second.
- `memory` is what the process has grown by, which is the state above all.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import as_services_run
from benchmarks.state import bare, steps
from benchmarks.state.events import read, write
from shared.errors import SettingsError
from tests.servers.kafka import kafka_server

ROOT = Path(__file__).parents[2]
BYTEWAX = "bytewax==0.21.1"
KINDS = ("memory", "disk")
FEW = 10_000
"""Keys for the windows of Bytewax."""
PEERS = ("aggregate", "join")


class Took(NamedTuple):
    """What a row took."""

    cpu: float
    rate: float
    memory: float


def peer() -> str:
    """Return the Python of an environment with Bytewax; it is made once."""
    folder = ROOT / "var" / "benchmarks" / BYTEWAX.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", BYTEWAX], check=True)
        (folder / "ready").touch()
    return str(python)


def run(*command: str) -> Took:
    """Run a row in a process of its own."""
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Took(*json.loads(done.stdout.splitlines()[-1]))


def part(*arguments: str) -> Took:
    """Run a row of this module."""
    return run(sys.executable, "-m", "benchmarks.state", "--part", *arguments)


def rows(names: list[str], file: str, few: str) -> Iterator[tuple[str, Took, Took | None, Took | None]]:
    """Yield each row of the steps, with what its bare loop and its peer took."""
    for name in names:
        limit = part("bare", name, file)
        yield f"{name}, bare", limit, None, None
        beside = None
        if name in PEERS:
            beside = run(peer(), "-m", "benchmarks.state.bytewax_flows", name, file)
            yield f"{name}, Bytewax", beside, limit, None
        if name == "aggregate":
            took = run(peer(), "-m", "benchmarks.state.bytewax_flows", "windows", few)
            yield f"windows, {FEW:,} keys", took, limit, None
        for kind in KINDS:
            yield f"{name}, {kind}", part("step", name, kind, file), limit, beside


def restored(keys: int) -> Iterator[tuple[str, Took, Took | None, Took | None]]:
    """Yield the rows of the restore."""
    with kafka_server(quick_start=False) as server:
        asyncio.run(steps.write_changelog(server.bootstrap, keys))
        limit = part("restore", "bare", server.bootstrap, str(keys))
        yield "restore, bare", limit, None, None
        for kind in KINDS:
            yield f"restore, {kind}", part("restore", kind, server.bootstrap, str(keys)), limit, None


def run_part(kind: str, *given: str) -> None:
    """Run one row, and print what it took."""
    as_services_run()
    match kind, given:
        case "bare", (name, file):
            bare.run(name, read(Path(file)))
        case "step", (name, store, file):
            asyncio.run(steps.run_step(name, store, read(Path(file))))
        case "restore", ("bare", servers, keys):
            asyncio.run(bare.restore(servers, steps.TOPIC.name, int(keys)))
        case "restore", (store, servers, keys):
            asyncio.run(steps.restore(servers, store, int(keys)))
        case _:
            raise SettingsError(f"there is no part {kind!r} of {given!r}")


def show(name: str, took: Took, limit: Took | None, beside: Took | None) -> None:
    """Print a row."""
    ratios = ["" if other is None else f"{took.cpu / other.cpu:.2f} x" for other in (limit, beside)]
    figures = f"{took.cpu:>8.2f} µs{took.rate:>12,.0f}/s{took.memory:>9,.0f} MiB"
    print(f"{name:<24}{figures}{ratios[0]:>11}{ratios[1]:>13}".rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.state", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("steps", nargs="*", default=[*steps.STEPS], help=f"of {', '.join(steps.STEPS)}; all by default")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=1_500_000)
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        run_part(*given.steps)
        return
    if unknown := set(given.steps) - steps.STEPS.keys():
        parser.error(f"there is no step {', '.join(unknown)}")
    print(f"{given.events:,} events of {given.keys:,} keys")
    print(f"{'':<24}{'CPU an event':>11}{'events':>14}{'memory':>13}{'of bare':>11}{'of Bytewax':>13}", flush=True)
    with tempfile.TemporaryDirectory(prefix="trelay-bench-") as folder:
        file, few = Path(folder) / "events", Path(folder) / "few"
        write(file, given.events, given.keys)
        write(few, FEW * 3 // 2, FEW)
        for row in rows(given.steps, str(file), str(few)):
            show(*row)
    for row in restored(given.keys):
        show(*row)


if __name__ == "__main__":
    main()
