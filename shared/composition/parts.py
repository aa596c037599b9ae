"""What every service is made of: opened from its settings, or given by the caller."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypedDict, Unpack

from shared.alerts import Alerts, alerting
from shared.alerts.outages import alert_on_outages
from shared.bus.connect import connect, prepare
from shared.bus.kafka import KafkaOptions
from shared.bus.protocol import Bus
from shared.composition.bus import BusConnection
from shared.composition.settings import SharedSettings
from shared.http.server import Health
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.identity import Identity, unique_node_name
from shared.telemetry.hops import hop_seconds
from shared.telemetry.opening import opened_telemetry
from shared.telemetry.tracing import Tracing


class Given(TypedDict, total=False):
    """Parts that the caller has already, ready to use. What is absent is made from the settings."""

    node: str
    """The name of this replica."""
    bus: Bus
    """With the topics of the settings."""
    alerts: Alerts
    health: Health
    """Services in one process share it; the caller that makes it reports outages."""
    clock: Clock
    rng: random.Random
    tracing: Tracing


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service runs on."""

    node: str
    health: Health
    alerts: Alerts
    bus: BusConnection
    clock: Clock
    rng: random.Random
    tracing: Tracing

    def report(self, part: str) -> Callable[[str | None], None]:
        """Return the function that takes what is wrong with a part of `/readyz`, None for nothing."""
        return lambda problem: self.health.readiness.report(part, problem)


@asynccontextmanager
async def opened_parts(service: str, settings: SharedSettings, **given: Unpack[Given]) -> AsyncIterator[Parts]:
    """Open what every service needs, for as long as the context lasts. No server has to be reachable yet.

    Raises:
        SettingsError: the alerts cannot be set up as the settings say.
    """
    clock = given.get("clock", SYSTEM_CLOCK)
    node = given.get("node") or settings.node or unique_node_name()
    shared_health = given.get("health")
    health = shared_health or Health(service)
    async with AsyncExitStack() as stack:
        _show_client_certificate(settings, health)
        alerts = given.get("alerts")
        if alerts is None:
            opened = alerting(settings.alerts, readiness=health.readiness, registry=health.registry, clock=clock)
            alerts = await stack.enter_async_context(opened)
        if shared_health is None:
            await stack.enter_async_context(alert_on_outages(service, health.readiness, alerts, clock))
        tracing = given.get("tracing")
        if tracing is None:
            opened_spans = traced(settings, Identity(service, node), health, clock)
            tracing = await stack.enter_async_context(opened_spans)
        hop_seconds(health.registry).exemplars = tracing.on
        yield Parts(
            node,
            health,
            alerts,
            BusConnection(lambda: _connected(settings, given.get("bus"), clock), settings.bus.topics, clock),
            clock,
            given.get("rng") or random.SystemRandom(),
            tracing,
        )


def traced(
    settings: SharedSettings, identity: Identity, health: Health, clock: Clock
) -> AbstractAsyncContextManager[Tracing]:
    """Return the context in which telemetry is exported as the settings say."""
    system = "kafka" if isinstance(settings.bus, KafkaOptions) else "postgresql"
    return opened_telemetry(settings.telemetry, identity, health, clock, system=system)


def _show_client_certificate(settings: SharedSettings, health: Health) -> None:
    """Export when the client certificate of the bus expires. A renewed one is loaded, so the file counts."""
    if isinstance(settings.bus, KafkaOptions) and settings.bus.cert_file is not None:
        health.certificates.show_file(settings.bus.cert_file)


@asynccontextmanager
async def _connected(settings: SharedSettings, given: Bus | None, clock: Clock) -> AsyncIterator[Bus]:
    if given is not None:
        yield given
        return
    await prepare(settings.bus, settings.database)
    async with connect(settings.bus, settings.database, clock=clock) as bus:
        yield bus
