"""Builds what needs the database and what needs the bus, while the service listens.

Neither outage is fatal. `/readyz` and the log name what is missing; requests that need it are refused as unavailable.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial

from services.experience_api.auth.signing import Signing
from services.experience_api.auth.tokens import Tokens
from services.experience_api.latest.copying import Copier
from services.experience_api.latest.opening import Latest
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.registry.protocol import Keys
from services.experience_api.sessions.claiming.takeovers import Takeovers
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.sessions.messages.inbound import Inbound
from services.experience_api.stream.auditing.writing import Auditing
from services.experience_api.stream.callbacks import Callbacks
from services.experience_api.stream.delivery import Delivery
from services.experience_api.stream.http_delivery import HttpDelivery
from services.experience_api.stream.options import DeliveryOptions
from shared.bus.protocol import Appender, Bus, Record
from shared.bus.topics import TopicsOptions
from shared.runtime.clock import Clock
from shared.runtime.retry import restarting, when_available
from shared.runtime.tasks import Tasks
from shared.telemetry.tracing import NO_TRACING, Tracing

Report = Callable[[str | None], None]
"""Takes what is wrong, and None if nothing is."""


@dataclass(frozen=True, slots=True)
class StreamParts:
    """The parts from which the stream is built once the bus is connected."""

    topics: TopicsOptions
    options: DeliveryOptions
    inbound: Callable[[Appender, OnceAppender], Inbound]
    takeovers: Callable[[Bus, Appender], Takeovers]
    once: Callable[[Bus], AbstractAsyncContextManager[OnceAppender]]
    on_delay: Callable[[str, float], None]
    tracing: Tracing = NO_TRACING
    on_first: Callable[[Record], None] = lambda _: None
    auditing: Callable[[Appender], Auditing] | None = None
    """Makes the audit of this replica, where there is one."""
    latest: Latest | None = None
    """The latest events, where they are kept."""
    copier: Copier | None = None
    """Copies them."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The parts that exist while the bus is connected."""

    delivery: Delivery
    http: HttpDelivery
    appender: Appender
    once: OnceAppender
    takeovers: Takeovers


async def load_tokens(
    signing: Signing, keys: Keys, prepare: Callable[[], Awaitable[object]], report: Report, clock: Clock
) -> Tokens:
    """Wait until the database is ready, and return `Tokens` with the signing keys."""

    async def tokens() -> Tokens:
        await prepare()
        return await signing.tokens(keys)

    return await when_available(tokens, report, clock)


async def run_stream(parts: StreamParts, bus: Bus, stream: LateBound[Stream], clock: Clock) -> None:
    """Deliver from the bus until cancelled; `stream` is set meanwhile.

    Raises:
        Unavailable: the bus does not answer.
        Exception: a bug ended the delivery.
    """
    async with bus.appender() as appender, parts.once(bus) as once, Tasks() as tasks:
        takeovers = parts.takeovers(bus, appender)
        tasks.keep("takeovers", restarting("takeovers", takeovers.run, clock))
        inbound = parts.inbound(appender, once)
        callbacks = Callbacks(inbound.on_refused, inbound.append, parts.on_delay, parts.tracing, parts.on_first)
        if parts.auditing is not None:
            auditing = parts.auditing(appender)
            tasks.keep("audit", restarting("audit", auditing.run, clock))
            callbacks = replace(callbacks, on_start=auditing.begin, on_end=auditing.end)
        if parts.copier is not None:
            tasks.keep("latest events", restarting("latest events", partial(parts.copier.run, bus), clock))
        topic, largest_frame = parts.topics.publish, parts.topics.largest_frame
        async with Delivery(
            bus,
            topic,
            parts.options,
            callbacks=callbacks,
            clock=clock,
            largest_frame=largest_frame,
            watermarks=parts.topics.watermarks,
            latest=parts.latest,
        ) as delivery:
            stream.set(Stream(delivery, HttpDelivery(delivery, parts.options), appender, once, takeovers))
            try:
                raise await delivery.failed()
            finally:
                stream.clear()
