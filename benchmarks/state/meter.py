"""Measures what this process takes. It imports the standard library alone: peers in other environments use it too."""

import json
import os
import time
from pathlib import Path


class Meter:
    """Measures from when it is made."""

    def __init__(self) -> None:
        self._memory, self._cpu, self._clock = resident(), time.process_time(), time.perf_counter()

    def report(self, count: int) -> None:
        """Print what so many events took: microseconds of CPU each, events a second, MiB of memory more."""
        cpu = (time.process_time() - self._cpu) / count * 1e6
        rate = count / (time.perf_counter() - self._clock)
        print(json.dumps([cpu, rate, resident() - self._memory]), flush=True)


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
