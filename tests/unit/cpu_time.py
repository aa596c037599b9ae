"""The CPU time of the test's own thread, whatever else the machine does."""

import time
from collections.abc import Callable


def least_cpu_time(work: Callable[[], object], times: int = 1) -> float:
    """Return the seconds of CPU of the quickest of several runs: now and then, a collection of garbage is in one."""
    return min(_cpu_time(work) for _ in range(times))


def _cpu_time(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
