"""Connects to the database and to the bus in the background, while the service listens.

Neither outage is fatal. `/readyz` and the log name what is missing; requests that need it are refused as unavailable.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from services.experience_api.auth.tokens import TokenOptions, Tokens, new_key
from services.experience_api.registry.protocol import Keys
from services.experience_api.sessions.inbound import Inbound
from services.experience_api.sessions.late_bound import LateBound
from services.experience_api.stream.delivery import Callbacks, Delivery, DeliveryOptions
from shared.bus.protocol import Appender, Bus
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_PAUSE = 1.0
"""Seconds between two attempts."""

Report = Callable[[str | None], None]
"""Takes what is wrong, and None if nothing is."""


@dataclass(frozen=True, slots=True)
class StreamParts:
    """The parts from which the stream is built once the bus is connected."""

    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    topics: TopicsOptions
    options: DeliveryOptions
    inbound: Callable[[Appender], Inbound]
    on_delay: Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """The parts that exist while the bus is connected."""

    delivery: Delivery
    appender: Appender


async def load_tokens(
    options: TokenOptions, keys: Keys, prepare: Callable[[], Awaitable[object]], report: Report, clock: Clock
) -> Tokens:
    """Wait until the database is ready, and return `Tokens` with the signing keys."""
    while True:
        try:
            await prepare()
            signing = [key.key() for key in options.keys] or [await keys.signing_key(new_key())]
        except Unavailable as exc:
            report(str(exc))
            await clock.sleep(_PAUSE)
        else:
            report(None)
            return Tokens(signing, issuer=options.issuer)


async def run_stream(parts: StreamParts, stream: LateBound[Stream], report: Report, clock: Clock) -> None:
    """Connect to the bus and deliver from it until cancelled, reconnecting after an outage.

    Raises:
        SettingsError: an existing topic contradicts the settings.
        Exception: a bug ended the delivery.
    """
    while True:
        try:
            async with parts.connect() as bus:
                await bus.ensure_topics(parts.topics.all())
                async with bus.appender() as appender:
                    report(None)
                    await _deliver(parts, bus, appender, stream, clock)
        except Unavailable as exc:
            report(str(exc))
            await clock.sleep(_PAUSE)


async def _deliver(parts: StreamParts, bus: Bus, appender: Appender, stream: LateBound[Stream], clock: Clock) -> None:
    inbound = parts.inbound(appender)
    callbacks = Callbacks(inbound.on_refused, inbound.append, parts.on_delay)
    async with Delivery(bus, parts.topics.publish, parts.options, callbacks=callbacks, clock=clock) as delivery:
        stream.set(Stream(delivery, appender))
        try:
            raise await delivery.failed()
        finally:
            stream.clear()
