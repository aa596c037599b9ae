"""Every benchmark, one after the other, each in a process of its own: `make bench`.

`python -m benchmarks NAME …` runs those named alone; `python -m benchmarks.NAME --help` lists its options.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ORDER = (
    "bus_kafka",
    "bus_postgres",
    "ndjson",
    "files",
    "queues",
    "table",
    "replication",
    "http_pages",
    "process",
    "steps",
    "enrich",
    "state",
    "fanout",
    "centrifugo",
    "subscribers",
    "crowd",
    "flood",
    "lists",
    "snapshots",
    "channels",
    "idle_memory",
    "memory",
    "latency",
    "quiet_latency",
    "telemetry",
)


def main() -> int:
    """Run them and return how many failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ORDER)}; all by default")
    names = parser.parse_args().names or ORDER
    for unknown in set(names) - set(ORDER):
        parser.error(f"there is no benchmark {unknown!r}")
    failed = 0
    for number, name in enumerate(names, 1):
        print(f"\n=== {name} ({number} of {len(names)})", flush=True)
        status = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, check=False).returncode
        if status:
            failed += 1
            print(f"=== {name} ended with {status}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
