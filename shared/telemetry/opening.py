"""Opens telemetry as the settings say; imports OpenTelemetry only if they ask for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from shared.runtime.clock import Clock
from shared.runtime.extras import extra
from shared.runtime.identity import Identity
from shared.runtime.tasks import Tasks, cancelled, started
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.tracing import NO_TRACING, Tracing

_ABORT_TIMEOUT = 0.5
"""Seconds for the threads to end once the shutdown is aborted; those of a request in progress end with the process."""


class Health(Protocol):
    """What `/metrics` shows."""

    @property
    def registry(self) -> CollectorRegistry:
        """Where metrics are registered."""
        ...

    async def families(self) -> list[Family]:
        """Return all metrics as of now."""
        ...


@asynccontextmanager
async def opened_telemetry(
    options: TelemetryOptions, identity: Identity, health: Health, clock: Clock, *, system: str
) -> AsyncIterator[Tracing]:
    """Export what the settings ask for, for as long as the context lasts. The collector need not be reachable.

    `system` names the bus: `kafka` or `postgresql`. On leaving, what was not exported yet has `flush_timeout` seconds.

    Raises:
        SettingsError: the extra `otel` is not installed.
    """
    if options.endpoint is None or not (options.traces or options.metrics or options.logs):
        yield NO_TRACING
        return
    async with AsyncExitStack() as stack:
        sdk = await asyncio.to_thread(_enter, stack, options, identity, health, clock)
        stack.push_async_callback(_close, sdk, options, health)
        tasks = await stack.enter_async_context(Tasks())
        if options.metrics:
            tasks.keep("export of metrics", _export_metrics(sdk, options.metrics_interval, health, clock))
        yield sdk.tracing(system)


class Exporting(Protocol):
    """What exports in threads."""

    def tracing(self, system: str) -> Tracing:
        """Return what makes spans; `system` names the bus."""
        ...

    def export_metrics(self, families: Iterable[Family]) -> None:
        """Send metrics; may take long."""

    def shutdown(self) -> None:
        """Export what waits, and close; may take long."""

    def abort(self) -> None:
        """End the shutdown as soon as the request in progress has ended."""


def _enter(
    stack: AsyncExitStack, options: TelemetryOptions, identity: Identity, health: Health, clock: Clock
) -> Exporting:
    """Open the SDK; in a thread, because its import takes long, and it detects the resource in threads of its own."""
    with extra("otel", "telemetry.endpoint"):
        from shared.telemetry.sdk import opened_sdk  # noqa: PLC0415 -- OpenTelemetry is an extra
    return stack.enter_context(opened_sdk(options, identity, health.registry, clock))


async def _export_metrics(sdk: Exporting, interval: float, health: Health, clock: Clock) -> None:
    """Export the metrics at an interval, without end. They are read here: collectors look at objects of the loop."""
    while True:
        await clock.sleep(interval)
        await _in_thread(partial(sdk.export_metrics, await health.families()))


async def _close(sdk: Exporting, options: TelemetryOptions, health: Health) -> None:
    """Shut down within `flush_timeout`, and a short time more for the threads to end."""
    families = await health.families() if options.metrics else []

    def finish() -> None:
        sdk.export_metrics(families)
        sdk.shutdown()

    finishing = started("shutdown of telemetry", _in_thread(finish))
    for seconds in (options.flush_timeout, _ABORT_TIMEOUT):
        done, _ = await asyncio.wait({finishing}, timeout=seconds)
        if done:
            return
        sdk.abort()
    await cancelled(finishing)


async def _in_thread(work: Callable[[], None]) -> None:
    """Run work in a thread of its own, which the process does not wait for.

    Not by `asyncio.to_thread`: the event loop waits for the threads of that when it closes.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="telemetry", daemon=True).start()
    await ended.wait()
