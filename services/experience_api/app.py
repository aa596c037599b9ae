"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from services.experience_api.admission import Admission
from services.experience_api.allow_list import Networks
from services.experience_api.arrival import StreamParts, keep_stream, tokens_with_a_key
from services.experience_api.awaited import Awaited
from services.experience_api.clients import Verifier
from services.experience_api.connections import Connections
from services.experience_api.consumers import Registration
from services.experience_api.delivery import Delivery
from services.experience_api.handshake import Handshake
from services.experience_api.inbound import Inbound
from services.experience_api.metrics import DeliveryCollector, ExperienceMetrics
from services.experience_api.node import NodeLease, own_name
from services.experience_api.push import Pushes
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import Registry
from services.experience_api.routes import Entrance, Routes, Stream
from services.experience_api.settings import ExperienceSettings
from shared.alerts import Alerts, alerting
from shared.bus.connect import connect
from shared.bus.protocol import Appender, Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.database.engine import create_engine
from shared.database.migrations import migrate
from shared.health import NotYet
from shared.lease import Leases, LeaseStore, PostgresLeaseStore
from shared.outages import outages_told
from shared.tasks import Tasks
from shared.web import Health, Listening, application, serve

REGISTRATIONS, LEASE, TOPICS, STREAM = "registrations", "replica lease", "topics of the stream", "stream"
NOTICES = "notices between replicas"
"""The parts in `/readyz`."""


@dataclass(frozen=True, slots=True)
class ExperienceApi:
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
async def build_experience_api(  # noqa: PLR0913 -- each outside part by its name
    settings: ExperienceSettings,
    *,
    bus: Bus | None = None,
    engine: AsyncEngine | None = None,
    registry: Registry | None = None,
    leases: LeaseStore | None = None,
    alerts: Alerts | None = None,
    health: Health | None = None,
    clock: Clock = SYSTEM_CLOCK,
    dice: random.Random | None = None,
) -> AsyncIterator[ExperienceApi]:
    """Run the service for as long as the context lasts; leaving it drains.

    What is not given is made from the settings, and need not be reachable yet. An engine or a registry that is given
    is ready to be used: its tables are not migrated here. Services in one process share `health`;
    who makes it tells of outages.

    Raises:
        SettingsError: the listener or the alerts cannot be set up as the settings say.
    """
    own_health, health = health is None, health or Health()
    given = engine is not None or registry is not None
    async with AsyncExitStack() as stack:
        if registry is None:
            if engine is None:
                engine = create_engine(settings.database)
                stack.push_async_callback(engine.dispose)
            registry = made = PostgresRegistry(engine, settings.database, clock)
            stack.callback(made.close)
        if leases is None:
            leases = await stack.enter_async_context(PostgresLeaseStore.opened(settings.database))
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if own_health:
            await stack.enter_async_context(outages_told("experience", health.readiness, alerts, clock))
        outside = _Outside(
            registry,
            leases,
            alerts,
            connect=lambda: connect(settings.bus, settings.database, clock=clock) if bus is None else nullcontext(bus),
            prepare=_nothing if given else lambda: migrate(settings.database),
            clock=clock,
            dice=dice or random.SystemRandom(),
        )
        yield await stack.enter_async_context(_Service(settings, outside, health).running())


@dataclass(frozen=True, slots=True)
class _Outside:
    """What the service has of others."""

    registry: Registry
    leases: LeaseStore
    alerts: Alerts
    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    """Connects to the bus."""
    prepare: Callable[[], Awaitable[object]]
    """Makes the database's tables what they should be."""
    clock: Clock
    dice: random.Random


class _Service:
    """The parts, and how they hang together."""

    def __init__(self, settings: ExperienceSettings, outside: _Outside, health: Health) -> None:
        self._options = settings.experience
        self._topics = settings.bus.topics
        self._outside = outside
        self._health = health
        self._metrics = ExperienceMetrics(health.registry)
        self._entrance: Awaited[Entrance] = Awaited("the database")
        self._stream: Awaited[Stream] = Awaited("the stream")
        self._handshakes = Admission(self._options.handshakes)
        self._registrations = Admission(self._options.registrations)
        self._pushes = Pushes(self._topics.publish, self._options.entity, outside.clock, outside.dice, new_id=_new_id)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ExperienceApi]:
        """Open everything; on leaving, drain, and close everything in reverse."""
        options, outside = self._options, self._outside
        days = options.tokens.expires_after_days_disconnected
        self._declare()
        async with AsyncExitStack() as stack:
            verifier = stack.enter_context(Verifier.opened(outside.registry, options.secrets, clock=outside.clock))
            tasks = await stack.enter_async_context(Tasks())
            node = self._node()
            connections = Connections(outside.registry, node, tasks, options.connections, days)
            await stack.enter_async_context(connections.open())
            tasks.keep("stream", keep_stream(self._stream_parts(), self._stream, self._report(TOPICS), outside.clock))
            tasks.keep("entrance", self._keep_entrance(verifier, connections, node))
            listening = await stack.enter_async_context(self._listening())
            await stack.enter_async_context(self._drained())
            yield ExperienceApi(listening, tasks)

    def _declare(self) -> None:
        readiness = self._health.readiness
        for part in (REGISTRATIONS, LEASE, TOPICS):
            readiness.require(part)
        readiness.require(STREAM, lambda: self._delivery.trouble if self._delivery else NotYet("the topics come first"))
        readiness.note(NOTICES, lambda: self._outside.registry.trouble)
        self._health.registry.register(DeliveryCollector(lambda: self._delivery.counts if self._delivery else None))

    @property
    def _delivery(self) -> Delivery | None:
        return self._stream.now.delivery if self._stream.now else None

    def _report(self, part: str) -> Callable[[str | None], None]:
        return lambda trouble: self._health.readiness.report(part, trouble)

    def _node(self) -> NodeLease:
        options, outside = self._options.connections, self._outside
        name = options.node or own_name()
        leases = Leases(outside.leases, name, ttl=options.lease_seconds, clock=outside.clock)
        return NodeLease(leases, name, outside.clock, self._report(LEASE))

    def _stream_parts(self) -> StreamParts:
        outside = self._outside

        def inbound(appender: Appender) -> Inbound:
            return Inbound(appender, self._topics.inbound, outside.alerts, self._metrics, outside.clock, _new_id)

        return StreamParts(outside.connect, self._topics, self._options.delivery, inbound, self._metrics.delayed)

    async def _keep_entrance(self, verifier: Verifier, connections: Connections, node: NodeLease) -> None:
        outside = self._outside
        tokens = await tokens_with_a_key(
            self._options.tokens, outside.registry, outside.prepare, self._report(REGISTRATIONS), outside.clock
        )
        registration = Registration(self._registrations, verifier, outside.registry, tokens, outside.clock)
        self._entrance.came(Entrance(registration, Handshake(self._handshakes, tokens, connections, outside.clock)))
        await node.keep(connections.lose_all)

    def _listening(self) -> AbstractAsyncContextManager[Listening]:
        options = self._options
        app = application(options.listen, self._health)
        Routes(
            self._entrance,
            self._stream,
            self._pushes,
            proxies=Networks(options.trusted_proxies),
            metrics=self._metrics,
            days=options.tokens.expires_after_days_disconnected,
        ).add_to(app)
        return serve(app, options.listen, self._health, clock=self._outside.clock)

    @asynccontextmanager
    async def _drained(self) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:
            raise  # there is no time left for it
        except BaseException:
            await self._drain()
            raise
        else:
            await self._drain()

    async def _drain(self) -> None:
        """Leave in order; what this does not get done in its time is dropped by what is closed after it."""
        self._health.readiness.draining = True  # 1. load balancers look elsewhere
        self._handshakes.close()  # 2. late comers are told to connect again
        self._registrations.close()
        self._pushes.close()
        if self._delivery is not None:  # 3. subscribers are sent away in waves, each with a time to come back
            await self._delivery.drain(self._options.drain_within)
        # 4. the listener closes, and with it the requests that are still under way
        # 5. what was accepted is on the bus, and the stream ends
        # 6. the replica's lease is given back; the database goes last, for 3 and 4 release claims


def _new_id() -> str:
    return str(uuid.uuid4())


async def _nothing() -> None:
    """Prepare what is ready."""
