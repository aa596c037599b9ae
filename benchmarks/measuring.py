"""What the measurements of CPU an event share: taking them, in turns, and printing them beside their limit."""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from shared.runtime.allocation import keep_freed_memory
from shared.runtime.run import settle

HEADING = f"{'':<44}{'CPU an event':>11}{'events':>14}{'of bare':>11}"


class Cost(NamedTuple):
    """What something took."""

    cpu: float
    """Microseconds of this process an event."""
    rate: float
    """Events a second."""


def as_services_run() -> None:
    """Set this process up as a service's is, for the bare loops as well: the allocator and the garbage collector."""
    keep_freed_memory()
    settle()


async def measured(work: Awaitable[None], events: int) -> Cost:
    """Await the work of so many events."""
    cpu, clock = time.process_time(), time.perf_counter()
    await work
    return Cost((time.process_time() - cpu) / events * 1e6, events / (time.perf_counter() - clock))


async def alternate(rounds: int, *works: Callable[[], Awaitable[Cost]]) -> list[Cost]:
    """Measure each in turn, and return the medians; the first round warms up."""
    found: list[list[Cost]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for costs, work in zip(found, works, strict=True):
            costs.append(await work())
    return [
        Cost(statistics.median(cost.cpu for cost in costs[1:]), statistics.median(cost.rate for cost in costs[1:]))
        for costs in found
    ]


def line(name: str, cost: Cost, bare: Cost | None = None) -> str:
    """Return a row below `HEADING`."""
    ratio = "" if bare is None else f"{cost.cpu / bare.cpu:>9.2f} x"
    return f"{name:<44}{cost.cpu:>8.2f} µs{cost.rate:>12,.0f}/s{ratio}"
