"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

from services.process_api.check import build, faults
from services.process_api.metrics import ProcessMetrics
from services.process_api.reporting import Reporter
from services.process_api.selection import Selection
from services.process_api.settings import ProcessSettings
from services.process_api.stream import Stream
from shared.alerts import Alerts, alerting
from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.database.migrations import migrate
from shared.errors import SettingsError, Unavailable
from shared.health import NotYet
from shared.outages import outages_told
from shared.tasks import Tasks
from shared.web import Health, Listening, application, serve

PIPELINES = "bus of the pipelines"
"""The part in `/readyz`."""

_PAUSE = 1.0
"""Seconds between two tries to reach the bus at the start."""

_LOOK_EVERY = 5.0
"""Seconds between two looks at how many records wait, and which partitions."""


@dataclass(frozen=True, slots=True)
class ProcessApi:
    """The service, while it runs."""

    listening: Listening
    tasks: Tasks

    async def failed(self) -> BaseException:
        """Wait until something has failed that the service cannot go on without, and return it."""
        return await self.tasks.failed()

    async def reload(self) -> list[str]:
        """Load again what can change while it runs; return what was loaded."""
        return await self.listening.reload()


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

    What is not given is made from the settings, and need not be reachable yet. A bus that is given has the topics of
    the settings, and its database is migrated. Services in one process share `health`; who makes it tells of outages.

    Raises:
        SettingsError: an expression runs away, a function cannot be imported, or the listener or the alerts cannot be
            set up as the settings say.
    """
    own_health, health = health is None, health or Health()
    pipelines = settings.process.pipelines
    if wrong := await asyncio.to_thread(faults, pipelines):
        raise SettingsError("\n".join(map(str, wrong)))
    async with AsyncExitStack() as stack:
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if own_health:
            await stack.enter_async_context(outages_told("process", health.readiness, alerts, clock))
        own_tables = bus is None and isinstance(settings.bus, PostgresBusOptions)
        outside = _Outside(
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=(lambda: migrate(settings.database)) if own_tables else _nothing,
            clock=clock,
        )
        yield await stack.enter_async_context(_Service(settings, build(pipelines), outside, health).running())


@dataclass(frozen=True, slots=True)
class _Outside:
    """What the service has of others."""

    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    """Connects to the bus."""
    prepare: Callable[[], Awaitable[object]]
    """Makes the database's tables what they should be, where the bus has them."""
    clock: Clock


class _Service:
    """The parts, and how they hang together."""

    def __init__(self, settings: ProcessSettings, selection: Selection, outside: _Outside, health: Health) -> None:
        self._options = settings.process
        self._topics = settings.bus.topics
        self._selection = selection
        self._outside = outside
        self._health = health
        self._bus: Bus | None = None
        self._no_bus: str = NotYet("not connected yet")
        self._metrics = ProcessMetrics(health.registry, selection.pipelines, outside.clock)
        self._reporter = Reporter(outside.alerts, self._metrics)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ProcessApi]:
        """Open everything; on leaving, stop reading, finish what is being committed, and close in reverse."""
        options, outside, readiness = self._options, self._outside, self._health.readiness
        readiness.require(PIPELINES, lambda: self._bus.trouble if self._bus else self._no_bus)
        app = application(options.listen, self._health)
        async with Tasks() as tasks, serve(app, options.listen, self._health, clock=outside.clock) as where:
            tasks.keep("pipelines", self._keep_running())
            try:
                yield ProcessApi(where, tasks)
            finally:
                # Health and metrics answer until the pipelines have stopped.
                readiness.draining = True
                await tasks.cancel_all()

    async def _keep_running(self) -> None:
        """Wait for the bus, and run the pipelines from then on.

        Raises:
            SettingsError: a topic is not of the form that the settings say.
        """
        while True:
            try:
                await self._outside.prepare()
                async with self._outside.connect() as bus:
                    await bus.ensure_topics(self._topics.all())
                    await self._run(bus)
            except Unavailable as exc:
                self._no_bus = str(exc)
                await self._outside.clock.sleep(_PAUSE)
            finally:
                self._bus = None

    async def _run(self, bus: Bus) -> None:
        options, outside = self._options, self._outside
        stream = Stream(bus, self._topics, self._selection, options.transaction, self._reporter, outside.clock)
        async with bus.join(self._topics.ingest, stream.group, options.node or _own_name(), stream.drive):
            self._bus = bus
            while True:
                with contextlib.suppress(Unavailable):  # the bus says itself what is wrong with it
                    await self._look_at_lag(bus, stream)
                self._reporter.look()
                await outside.clock.sleep(_LOOK_EVERY)

    async def _look_at_lag(self, bus: Bus, stream: Stream) -> None:
        ends = await bus.bounds(self._topics.ingest)
        self._metrics.lags({number: max(0, ends[number][1] - at) for number, at in stream.positions.items()})


def _own_name() -> str:
    """Make a name that no other replica has: of the host, and of this life of the process."""
    return f"{socket.gethostname()[:64]}-{secrets.token_hex(4)}"


async def _nothing() -> None:
    """Prepare what is ready."""
