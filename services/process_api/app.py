"""The composition root of the process layer: each dependency can be replaced by an argument."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

from services.process_api.pipeline.check import build, faults
from services.process_api.pipeline.selection import Selection
from services.process_api.settings import ProcessSettings
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream
from shared.alerts import Alerts, alerting
from shared.alerts.outages import alert_on_outages
from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.database.migrations import migrate
from shared.errors import SettingsError, Unavailable
from shared.http.health import NotYet
from shared.http.server import Health, Listening, application, serve
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.tasks import Tasks

PIPELINES = "pipelines"
"""The part in `/readyz`: the bus that the pipelines read and write."""

_RECONNECT_DELAY = 1.0
"""Seconds between two attempts to connect to the bus at the start."""

_CHECK_INTERVAL = 5.0
"""Seconds between two measurements of the lag."""


@dataclass(frozen=True, slots=True)
class ProcessApi:
    """The service while it runs."""

    listening: Listening
    tasks: Tasks

    async def failed(self) -> BaseException:
        """Wait until something fails that the service cannot run without, and return the error."""
        return await self.tasks.failed()


@asynccontextmanager
async def build_process_api(
    settings: ProcessSettings,
    *,
    bus: Bus | None = None,
    alerts: Alerts | None = None,
    health: Health | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[ProcessApi]:
    """Run the service for as long as the context lasts.

    Dependencies that are not given are made from the settings, and need not be reachable yet. A bus that is given has
    the topics of the settings, and its database is migrated. Services in one process share `health`;
    the caller that made it also alerts about outages.

    Raises:
        SettingsError: an expression does not terminate, a function cannot be imported, or the listener or the alerts
            cannot be set up as the settings say.
    """
    own_health, health = health is None, health or Health()
    pipelines = settings.process.pipelines
    if found := await asyncio.to_thread(faults, pipelines):
        raise SettingsError("\n".join(found))
    async with AsyncExitStack() as stack:
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if own_health:
            await stack.enter_async_context(alert_on_outages("process", health.readiness, alerts, clock))
        own_tables = bus is None and isinstance(settings.bus, PostgresBusOptions)
        dependencies = _Dependencies(
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=(lambda: migrate(settings.database)) if own_tables else _already_prepared,
            clock=clock,
        )
        yield await stack.enter_async_context(_Service(settings, build(pipelines), dependencies, health).running())


@dataclass(frozen=True, slots=True)
class _Dependencies:
    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    prepare: Callable[[], Awaitable[object]]
    """Migrates the tables of a bus that has any."""
    clock: Clock


class _Service:
    """The parts of the service, wired."""

    def __init__(
        self, settings: ProcessSettings, selection: Selection, dependencies: _Dependencies, health: Health
    ) -> None:
        self._options = settings.process
        self._topics = settings.bus.topics
        self._selection = selection
        self._dependencies = dependencies
        self._health = health
        self._bus: Bus | None = None
        self._bus_problem: str = NotYet("not connected yet")
        self._metrics = ProcessMetrics(health.registry, selection.pipelines, dependencies.clock)
        self._reporter = Reporter(dependencies.alerts, self._metrics, dependencies.clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ProcessApi]:
        """Start the service; on leaving, stop reading, finish pending commits, and close in reverse order."""
        options, clock, readiness = self._options, self._dependencies.clock, self._health.readiness
        readiness.require(PIPELINES, lambda: self._bus.problem if self._bus else self._bus_problem)
        app = application(options.listen, self._health)
        async with Tasks() as tasks, serve(app, options.listen, self._health, clock=clock) as listening:
            tasks.keep("pipelines", self._keep_running())
            try:
                yield ProcessApi(listening, tasks)
            finally:
                # Health and metrics answer until the pipelines have stopped.
                readiness.draining = True
                await tasks.cancel_all()

    async def _keep_running(self) -> None:
        """Connect to the bus and run the pipelines; reconnect whenever that fails.

        Raises:
            SettingsError: a topic has other partitions or another clean-up policy than the settings say.
        """
        while True:
            try:
                await self._dependencies.prepare()
                async with self._dependencies.connect() as bus:
                    await bus.ensure_topics(self._topics.all())
                    await self._run(bus)
            except Unavailable as exc:
                self._bus_problem = str(exc)
                await self._dependencies.clock.sleep(_RECONNECT_DELAY)
            finally:
                self._bus = None

    async def _run(self, bus: Bus) -> None:
        options, clock = self._options, self._dependencies.clock
        stream = Stream(bus, self._topics, self._selection, options.transaction, self._reporter, clock)
        async with bus.join(self._topics.ingest, stream.group, options.node or _generated_name(), stream.run_partition):
            self._bus = bus
            while True:
                with contextlib.suppress(Unavailable):  # the bus reports its own problems
                    await self._measure_lag(bus, stream)
                self._reporter.expire_pauses()
                await clock.sleep(_CHECK_INTERVAL)

    async def _measure_lag(self, bus: Bus, stream: Stream) -> None:
        ends = await bus.bounds(self._topics.ingest)
        self._metrics.set_lag({number: max(0, ends[number][1] - at) for number, at in stream.positions.items()})


def _generated_name() -> str:
    """Return a name that no other replica has: the host name and a random suffix."""
    return f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"


async def _already_prepared() -> None:
    pass
