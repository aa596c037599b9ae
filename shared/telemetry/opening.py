"""Opens telemetry as the settings say; imports OpenTelemetry only if they ask for it."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Protocol

from prometheus_client import CollectorRegistry

from shared.runtime.clock import Clock
from shared.runtime.extras import extra
from shared.runtime.identity import Identity
from shared.telemetry.options import TelemetryOptions
from shared.telemetry.tracing import NO_TRACING, Tracing

_ABORT_TIMEOUT = 0.5
"""Seconds for the threads to end once the shutdown is aborted; those of a request in progress end with the process."""


@asynccontextmanager
async def opened_tracing(
    options: TelemetryOptions, identity: Identity, system: str, registry: CollectorRegistry, clock: Clock
) -> AsyncIterator[Tracing]:
    """Make spans for as long as the context lasts. The collector need not be reachable.

    `system` names the bus: `kafka` or `postgresql`. On leaving, what was not exported yet has `flush_timeout` seconds.

    Raises:
        SettingsError: the extra `otel` is not installed.
    """
    if options.endpoint is None or not options.traces:
        yield NO_TRACING
        return
    with extra("otel", "telemetry.endpoint"):
        from shared.telemetry.sdk import opened_sdk  # noqa: PLC0415 -- OpenTelemetry is an extra
    async with AsyncExitStack() as stack:
        # In a thread: it reads the CA bundle, and detects the resource in threads of its own.
        sdk = await asyncio.to_thread(stack.enter_context, opened_sdk(options, identity, registry, clock))
        stack.push_async_callback(_close, sdk, options.flush_timeout)
        yield sdk.tracing(system)


class Closing(Protocol):
    """What exports in threads."""

    def shutdown(self) -> None:
        """Export what waits, and close; may take long."""

    def abort(self) -> None:
        """End the shutdown as soon as the request in progress has ended."""


async def _close(sdk: Closing, timeout: float) -> None:
    """Shut down within `timeout` seconds, and a short time more for the threads to end.

    Not by `asyncio.to_thread`: the event loop waits for the threads of that when it closes.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            sdk.shutdown()
        finally:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=run, name="telemetry shutdown", daemon=True).start()
    for seconds in (timeout, _ABORT_TIMEOUT):
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await ended.wait()
                return
        sdk.abort()
