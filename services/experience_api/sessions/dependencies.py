"""What comes with the database, and what comes with the bus: waited for in the background, while the service listens.

Neither is fatal. What is missing is said in `/readyz`, and once in the log; requests that need it are told to wait.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from services.experience_api.auth.tokens import TokenOptions, Tokens, new_key
from services.experience_api.registry.protocol import Keys
from services.experience_api.sessions.inbound import Inbound
from services.experience_api.sessions.late_bound import Awaited
from services.experience_api.stream.delivery import Callbacks, Delivery, DeliveryOptions
from shared.bus.protocol import Appender, Bus
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_PAUSE = 1.0
"""Seconds between two tries."""

Report = Callable[[str | None], None]
"""Takes what is wrong, None if nothing."""


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What the stream is made of, once there is a bus."""

    connect: Callable[[], AbstractAsyncContextManager[Bus]]
    topics: TopicsOptions
    options: DeliveryOptions
    inbound: Callable[[Appender], Inbound]
    on_delay: Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """What is there once the bus is."""

    delivery: Delivery
    appender: Appender


async def tokens_with_a_key(
    options: TokenOptions, keys: Keys, prepare: Callable[[], Awaitable[object]], report: Report, clock: Clock
) -> Tokens:
    """Return what issues and reads tokens, as soon as the database is ready and there is a key to sign with."""
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


async def keep_stream(parts: StreamParts, stream: Awaited[Stream], report: Report, clock: Clock) -> None:
    """Connect to the bus and deliver from it, for ever.

    Raises:
        SettingsError: a topic is not of the form that the settings say.
        Exception: a fault of ours has ended the delivery.
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


async def _deliver(parts: StreamParts, bus: Bus, appender: Appender, stream: Awaited[Stream], clock: Clock) -> None:
    inbound = parts.inbound(appender)
    callbacks = Callbacks(inbound.refused, inbound.accept, parts.on_delay)
    async with Delivery(bus, parts.topics.publish, parts.options, callbacks=callbacks, clock=clock) as delivery:
        stream.came(Stream(delivery, appender))
        try:
            raise await delivery.failed()
        finally:
            stream.went()
