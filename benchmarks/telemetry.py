"""What OpenTelemetry costs: CPU an event in the process layer on Kafka, and CPU a request, with a real collector.

Each is measured with telemetry off; on, with no trace sampled; with 1 % and with 100 % of the traces. The CPU is that
of this process, threads that export included, and not that of the collector. 500 events share a trace, as those of
one poll do; in the last row each event has a trace of its own, as pushed ones with a `traceparent` each have. The
pipeline has no steps, so that nothing is as cheap as what telemetry is added to. A request is answered at once by a
handler that does nothing; its client is in this process, and in the figures.
"""

import argparse
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from benchmarks.measuring import HEADING, Cost, alternate, as_services_run, line, measured
from benchmarks.process import Bench
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.identity import Identity
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.sdk import opened_sdk
from shared.telemetry.tracing import NO_TRACING, Tracing
from tests.servers.collector import collector_server
from tests.servers.kafka import kafka_server

_BY_POLL = 500
_TRACEPARENT = b'"traceparent":"'
_LENGTH = 55


@dataclasses.dataclass(frozen=True)
class Variant:
    """One way to run."""

    name: str
    ratio: float | None
    """The part of the traces that is sampled; None: telemetry is off."""
    by_trace: int = _BY_POLL
    """Events of one trace."""


VARIANTS = (
    Variant("off", None),
    Variant("on, none sampled", 0),
    Variant("on, 1 % sampled", 0.01),
    Variant("on, 100 % sampled", 1),
    Variant("on, 100 %, a trace for each event", 1, by_trace=1),
)


@contextmanager
def opened(endpoint: str, ratio: float | None) -> Iterator[Tracing]:
    """Open the SDK as the services do."""
    if ratio is None:
        yield NO_TRACING
        return
    options = TelemetryOptions(endpoint=endpoint, sample_ratio=ratio)
    with opened_sdk(options, Identity("benchmark", "1"), CollectorRegistry(), SYSTEM_CLOCK) as sdk:
        try:
            yield sdk.tracing("kafka")
        finally:
            sdk.shutdown()


class TracedBench(Bench):
    """Measures the process layer with events of traces."""

    def __init__(self, servers: str, count: int, endpoint: str) -> None:
        super().__init__(servers, count)
        self._made = self.events
        self._endpoint = endpoint

    async def of(self, variant: Variant) -> Cost:
        """Measure one variant."""
        rng = random.Random(1)
        traceparent = b""
        self.events = []
        for number, (key, value, headers) in enumerate(self._made):
            if number % variant.by_trace == 0:
                sampled = rng.random() < (1 if variant.ratio is None else variant.ratio)
                traceparent = b"00-%032x-%016x-0%d" % (rng.getrandbits(128), rng.getrandbits(64), sampled)
            at = value.index(_TRACEPARENT) + len(_TRACEPARENT)
            self.events.append((key, value[:at] + traceparent + value[at + _LENGTH :], headers))
        with opened(self._endpoint, variant.ratio) as tracing:
            return await self.ours([], "none", tracing)


async def answer(_request: web.Request) -> web.Response:
    return web.Response()


@asynccontextmanager
async def served(tracing: Tracing) -> AsyncIterator[str]:
    """Serve requests that are answered at once."""
    app = web.Application()
    tracing.trace_requests(app)
    app.router.add_get("/clients", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/clients"
    finally:
        await runner.cleanup()


async def requests(endpoint: str, variant: Variant, count: int) -> Cost:
    """Measure requests, one after the other."""
    with opened(endpoint, variant.ratio) as tracing:
        async with served(tracing) as url, aiohttp.ClientSession() as http:

            async def work() -> None:
                for _ in range(count):
                    async with http.get(url) as response:
                        await response.read()

            return await measured(work(), count)


async def compare(rounds: int, works: dict[str, Callable[[], Awaitable[Cost]]]) -> None:
    """Measure in turns, and print each beside the first."""
    first, *others = zip(works, await alternate(rounds, *works.values()), strict=True)
    print(line(*first))
    for name, cost in others:
        print(line(name, cost, first[1]))


async def run(servers: str, endpoint: str, events: int, count: int, rounds: int) -> None:
    bench = TracedBench(servers, events, endpoint)
    as_services_run()
    print(f"{events:,} events, {count:,} requests, {rounds} rounds; the last column is relative to telemetry off")
    print(HEADING)
    works: dict[str, Any] = {f"event: {each.name}": lambda each=each: bench.of(each) for each in VARIANTS}
    await compare(rounds, works)
    works = {f"request: {each.name}": lambda each=each: requests(endpoint, each, count) for each in VARIANTS[:-1]}
    await compare(rounds, works)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50_000, help="how many are processed in each run (50000)")
    parser.add_argument("--requests", type=int, default=5_000, help="how many are sent in each run (5000)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (3)")
    arguments = parser.parse_args()
    with kafka_server(quick_start=False) as kafka, collector_server() as collector:
        work = run(kafka.bootstrap, collector.endpoint, arguments.events, arguments.requests, arguments.rounds)
        uvloop.run(work)


if __name__ == "__main__":
    main()
