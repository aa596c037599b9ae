"""What comes with the database, and what comes with the bus.

Neither keeps the service from listening. What is missing is named in `/readyz`, and requests that need it are refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.experience_api.auth.tokens import TokenOptions, Tokens, new_key
from services.experience_api.registry.protocol import Keys
from services.experience_api.sessions.inbound import Inbound
from services.experience_api.sessions.late_bound import Awaited
from services.experience_api.stream.delivery import Callbacks, Delivery, DeliveryOptions
from shared.bus.protocol import Appender, Bus
from shared.runtime.clock import Clock
from shared.runtime.retry import when_available

Report = Callable[[str | None], None]
"""Takes what is wrong, None if nothing."""


@dataclass(frozen=True, slots=True)
class StreamParts:
    """What the stream is made of, once there is a bus."""

    topic: str
    options: DeliveryOptions
    inbound: Callable[[Appender], Inbound]
    on_delay: Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Stream:
    """What is there once the bus is."""

    delivery: Delivery
    appender: Appender


async def load_tokens(
    options: TokenOptions, keys: Keys, prepare: Callable[[], Awaitable[object]], report: Report, clock: Clock
) -> Tokens:
    """Wait until the database is ready, and return `Tokens` with the signing keys."""

    async def tokens() -> Tokens:
        await prepare()
        signing = [key.key() for key in options.keys] or [await keys.signing_key(new_key())]
        return Tokens(signing, issuer=options.issuer)

    return await when_available(tokens, report, clock)


async def deliver(parts: StreamParts, bus: Bus, stream: Awaited[Stream], clock: Clock) -> None:
    """Deliver from the bus, and let `stream` be used meanwhile.

    Raises:
        Unavailable: the bus does not answer.
        Exception: a programming error has ended the delivery.
    """
    async with bus.appender() as appender:
        inbound = parts.inbound(appender)
        callbacks = Callbacks(inbound.refused, inbound.accept, parts.on_delay)
        async with Delivery(bus, parts.topic, parts.options, callbacks=callbacks, clock=clock) as delivery:
            stream.came(Stream(delivery, appender))
            try:
                raise await delivery.failed()
            finally:
                stream.went()
