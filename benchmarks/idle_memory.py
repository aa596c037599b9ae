"""Measures the memory of an idle connection: the experience layer next to bare aiohttp, each in its own process, in the
same run. The figure is memory that belongs to the process alone, per connection.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.children import child
from benchmarks.native import compiled

CASES = {
    "aiohttp alone": ("bare", "null", ""),
    "aiohttp alone, with heartbeat": ("bare", "25.0", ""),
    "experience layer, with heartbeat": ("layer", "", ""),
}


def measure(case: tuple[str, str, str], peers: Path, connections: int) -> float:
    """Return the KiB of memory that a server uses per connection."""
    warm = 200  # one-time allocations are done by then
    with child(sys.executable, "-m", "benchmarks.fanout_layer", *case) as server:
        port = str(server.hear())
        with child(str(peers), port, str(warm)):
            server.ask(f"connected {warm}")
            before = server.ask("memory")
            with child(str(peers), port, str(connections)):
                server.ask(f"connected {warm + connections}")
                after = server.ask("memory")
    return (after - before) / connections / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--turns", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = compiled("peers", Path(folder))
        best = {
            name: min(measure(case, peers, chosen.connections) for _ in range(chosen.turns))
            for name, case in CASES.items()
        }
    alone = best["aiohttp alone"]
    for name, size in best.items():
        print(f"{name:34} {size:5.1f} KiB per connection   ratio {size / alone:.2f}")


if __name__ == "__main__":
    main()
