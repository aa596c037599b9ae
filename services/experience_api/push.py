"""From `POST /entity` to the publish topic.

The sender is answered once the bus has every event of the request, and not before. One that is told to try again, or
hears no answer, sends the same ids again: events may then be there twice, as with every such push, and their ids say
so.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

from services.experience_api import refusals
from services.experience_api.allow_list import Networks, Origin
from services.experience_api.entity import EntityOptions, Push, PushedEvent, Stamp, read_events
from services.experience_api.refusals import Refused
from shared.bus.protocol import Appender
from shared.clock import Clock, rfc3339
from shared.errors import Unavailable
from shared.telemetry import go_on


class Pushes:
    """Takes what is pushed."""

    def __init__(
        self,
        topic: str,
        options: EntityOptions,
        clock: Clock,
        dice: random.Random,
        new_id: Callable[[], str],
    ) -> None:
        self._topic = topic
        self._options = options
        self._clock = clock
        self._dice = dice
        self._new_id = new_id
        self._allowed = Networks(options.allow)
        self._closed = False

    def close(self) -> None:
        """Take nothing any more."""
        self._closed = True

    def check(self, origin: Origin) -> None:
        """Ask whether a request may push, before its body is read.

        Raises:
            Refused: `DRAINING`, `ADDRESS_NOT_ALLOWED`.
        """
        if self._closed:
            raise Refused(refusals.DRAINING, retry_after=1.0)
        if not origin.within(self._allowed):
            raise Refused(refusals.ADDRESS_NOT_ALLOWED, self._why_not(origin))

    def _why_not(self, origin: Origin) -> str:
        if not self._allowed:
            return "the setting `experience.entity.allow` names no network"
        if origin.unverified:
            return f"{origin.unverified}; the setting `experience.trusted_proxies` names those that are trusted"
        return f"{origin.address} is not on the allow list"

    async def body(self, arriving: Awaitable[bytes]) -> bytes:
        """Return the body once it is here.

        Raises:
            Refused: `TOO_SLOW`.
        """
        try:
            async with asyncio.timeout(self._options.arrives_within):
                return await arriving
        except TimeoutError as exc:
            raise Refused(refusals.TOO_SLOW) from exc

    async def take(self, push: Push, appender: Appender) -> list[PushedEvent]:
        """Return the events once the bus has them all.

        Raises:
            Malformed, TooLarge: nothing was taken.
            Refused: `UNSUPPORTED_TYPE`: nothing was taken; `UNAVAILABLE`: some may have been.
        """
        now = self._clock.time()
        header = push.headers.get("traceparent")
        stamp = Stamp(rfc3339(now), self._new_id, lambda: str(go_on(header, self._dice)))
        events = read_events(push, stamp, self._options)
        try:
            async with asyncio.timeout(self._options.patience):
                await appender.append(self._topic, [pushed.record(now) for pushed in events])
        except (Unavailable, TimeoutError) as exc:
            detail = "the bus does not answer; send the same again"
            raise Refused(refusals.UNAVAILABLE, detail, retry_after=2.0) from exc
        return events
