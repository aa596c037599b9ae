"""What `trial` runs: reads a JSON list of expressions, and writes what is wrong with each as soon as it is known."""

import json
import math
import resource
import sys
from pathlib import Path

from services.process_api.pipeline.expression.jsonata import Jsonata, TooSlow
from shared.errors import Malformed

_MEMORY = 256 * 1024**2
"""Bytes that trying may add to the address space. The library's allocator has taken a gibibyte of it by then, most of
which is free: a bound on the whole would be below that, and every allocation a matter of luck."""
_TIME_LIMIT_MS = 500
_CPU_SECONDS = 3
"""For one expression. Of computing, not of time: where the machine is busy, nothing runs away."""


def fault(expression: str) -> str:
    """Return what is wrong with an expression, the empty text if nothing is."""
    try:
        compiled = Jsonata(expression, _TIME_LIMIT_MS)
    except ValueError as exc:
        return str(exc)
    for data in (None, b"{}"):
        try:
            compiled.evaluate(data, {})
        except TooSlow as exc:
            return str(exc)
        except Malformed:
            continue  # nothing to work on is a good reason to fail
    return ""


def allow(seconds: int) -> None:
    """Let the process compute for so long from now on, and be ended by the system then."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    until = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until if most == resource.RLIM_INFINITY else min(until, most), most))


def allow_memory(size: int) -> None:
    """Let the process take so many bytes of address space beyond what it has; where that cannot be told, any number."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit = pages * resource.getpagesize() + size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Try what comes on the standard input."""
    allow_memory(_MEMORY)
    for expression in json.load(sys.stdin):
        allow(_CPU_SECONDS)
        sys.stdout.write(json.dumps(fault(expression)) + "\n")
        sys.stdout.flush()


main()
