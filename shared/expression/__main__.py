"""The process that `trial` starts: reads a JSON list of expressions, and writes the verdict on each as it goes."""

import json
import math
import resource
import sys
from pathlib import Path

from shared.errors import Malformed
from shared.expression.jsonata import EvaluationTimeout, Jsonata

_MEMORY = 256 * 1024**2
"""Bytes that the trial may add to the address space. The library's allocator has reserved a gibibyte of it by then,
most of which is free: a limit on the whole would lie below that, and allocations would fail at random."""
_TIME_LIMIT_MS = 500
_CPU_SECONDS = 3
"""For one expression, in CPU time: a busy machine does not change the verdict."""


def fault(expression: str) -> str:
    """Return the fault of an expression, the empty text where it is valid."""
    try:
        compiled = Jsonata(expression, _TIME_LIMIT_MS)
    except ValueError as exc:
        return str(exc)
    for data in (None, b"{}"):
        try:
            compiled.evaluate(data, {})
        except EvaluationTimeout as exc:
            return str(exc)
        except Malformed:
            continue  # it may fail for want of data
    return ""


def limit_cpu(seconds: int) -> None:
    """Let the system end the process after so much CPU time from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until if most == resource.RLIM_INFINITY else min(until, most), most))


def limit_memory(size: int) -> None:
    """Limit the address space to so many bytes more than now; not where `/proc` does not tell how much that is."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Try the expressions on standard input."""
    limit_memory(_MEMORY)
    for expression in json.load(sys.stdin):
        limit_cpu(_CPU_SECONDS)
        sys.stdout.write(json.dumps(fault(expression)) + "\n")
        sys.stdout.flush()


main()
