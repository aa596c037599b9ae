"""Limits of the processes in which expressions are evaluated apart from the service."""

import math
import resource
from pathlib import Path


def limit_cpu(seconds: int) -> None:
    """Let the system end the process after so much CPU time from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until if most == resource.RLIM_INFINITY else min(until, most), most))


def limit_memory(size: int) -> None:
    """Limit the address space to so many bytes more than now; not where `/proc` does not tell how much that is.

    jsonatapy's allocator has reserved a gibibyte of it by then, most of which is free: a limit on the whole would lie
    below that, and allocations would fail at random.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
