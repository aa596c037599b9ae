"""Appends the events of `POST /entity` to the publish topic.

The sender gets its response once the bus has stored every event of the request. A sender that gets an error or no
response sends the same events again. They may then be stored twice, with the same ids, unless the request has an
idempotency key, or the settings say that each event is published once.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from multidict import MultiMapping

from services.experience_api import refusals
from services.experience_api.http.entity import Defaults, EntityOptions, Push, PushedEvent, parse_events
from services.experience_api.producers.identity import Producer, Producers
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded, Key, id_of, key_of_event, key_of_request, read_key
from services.experience_api.refusals import Refused
from shared.bus.protocol import RECORD_LIMIT, Appender, Outgoing
from shared.errors import TooLarge, Unavailable
from shared.events.telemetry import continue_trace
from shared.http.bodies import BodyReader, UnsupportedEncoding, encoding_of
from shared.http.origin import Origin
from shared.runtime.clock import Clock, rfc3339
from shared.runtime.trace import current_span
from shared.telemetry.tracing import NO_TRACING, Tracing

_LARGE = 32_768
"""Bytes from which a body is parsed in a thread: a megabyte takes 30 ms, or half a second where something is wrong."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The events of a request, all of them stored."""

    events: Sequence[PushedEvent]
    new: int
    """How many of them this request has stored; the others were there before."""


class Pushes:
    """Accepts pushed events."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        topic: str,
        options: EntityOptions,
        producers: Producers,
        clock: Clock,
        rng: random.Random,
        new_id: Callable[[], str],
        event_limit: int = RECORD_LIMIT,
        *,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        """`event_limit` is the bytes of the largest event."""
        self._event_limit = event_limit
        self._topic = topic
        self._options = options
        self._clock = clock
        self._rng = rng
        self._new_id = new_id
        self._producers = producers
        self._tracing = tracing
        self._parsing = asyncio.Lock()
        """One large body at a time: the event loop has its turn after some milliseconds then."""
        self._closed = False

    def close(self) -> None:
        """Refuse every request from now on."""
        self._closed = True

    def check(
        self, origin: Origin, headers: MultiMapping[str], certificate: Mapping[str, Any] | None = None
    ) -> Producer:
        """Return who pushes, before the body is read. `certificate` is that of the client in TLS.

        Raises:
            Refused: `DRAINING`, and those of `Producers.identify`.
        """
        if self._closed:
            raise Refused(refusals.DRAINING, retry_after=1.0)
        return self._producers.identify(origin, headers, certificate, self._clock.monotonic())

    def reader(self, headers: MultiMapping[str], limit: int) -> BodyReader:
        """Return what reads the body of a request; `limit` is in bytes.

        Raises:
            Refused: `UNSUPPORTED_TYPE`: its encoding is not read.
        """
        try:
            return BodyReader(encoding_of(headers), limit)
        except UnsupportedEncoding as exc:
            raise Refused(refusals.UNSUPPORTED_TYPE, str(exc)) from exc

    def _check_sizes(self, events: Sequence[PushedEvent]) -> None:
        for index, pushed in enumerate(events):
            if len(pushed.value) > self._event_limit:
                found = f"found {len(pushed.value)} bytes; expected at most {self._event_limit}"
                raise TooLarge.of_event(index, f"{found}, so that its frame is within `bus.topics.largest_frame`")

    async def body(self, read: Callable[[], Awaitable[bytes]], reader: BodyReader) -> bytes:
        """Return the body once it has arrived. `read` returns what has arrived meanwhile, and nothing at the end.

        Raises:
            Refused: `TOO_SLOW`.
            TooLarge, Malformed: as the methods of `reader`.
        """

        async def next_piece() -> bytes:
            async with asyncio.timeout(self._options.body_timeout):
                return await read()

        try:
            return await reader.whole(next_piece)
        except TimeoutError as exc:
            raise Refused(refusals.TOO_SLOW) from exc

    async def append(self, push: Push, producer: Producer, appender: Appender, once: OnceAppender) -> Pushed:
        """Return the events once the bus has stored all of them.

        Raises:
            Malformed, TooLarge: nothing was stored.
            Refused: `KEY_REUSED`, `PUSH_IN_PROGRESS`: nothing was stored by this request.
            Refused: `UNSUPPORTED_TYPE`, `PUBLISHING_NOT_PERMITTED`: nothing was stored; `UNAVAILABLE`: some may have
                been.
        """
        now = self._clock.time()
        header = push.headers.get("traceparent")
        key = _key(push, producer)
        new_id = self._new_id if key is None else partial(id_of, key)
        began, span = self._clock.monotonic(), current_span()
        defaults = Defaults(rfc3339(now), new_id, lambda: str(span or continue_trace(header, self._rng)))
        events = await self._parsed(push, defaults)
        self._check_sizes(events)
        producer.check(dict.fromkeys(pushed.channel for pushed in events))
        guarded = self._guarded(events, key, producer, now)
        try:
            async with asyncio.timeout(self._options.timeout):
                if guarded:
                    new = await once.append(guarded)
                else:
                    await appender.append(self._topic, [pushed.record(now) for pushed in events])
                    new = len(events)
        except (Unavailable, TimeoutError) as exc:
            detail = "the bus does not answer; send the same events again" + (", with the same key" if key else "")
            raise Refused(refusals.UNAVAILABLE, detail, retry_after=2.0) from exc
        self._tracing.sent(self._topic, events, self._clock.monotonic() - began)
        return Pushed(events, new)

    async def _parsed(self, push: Push, defaults: Defaults) -> list[PushedEvent]:
        if len(push.body) < _LARGE:
            return parse_events(push, defaults, self._options)
        async with self._parsing:
            return await asyncio.to_thread(parse_events, push, defaults, self._options)

    def _guarded(
        self, events: Sequence[PushedEvent], key: Key | None, producer: Producer, now: float
    ) -> Sequence[Guarded]:
        """Return what keys guard; empty if there are none."""
        if not self._options.once.by_event:
            return [] if key is None else [Guarded(key, [pushed.record(now) for pushed in events])]
        found: dict[Key, list[Outgoing]] = {} if key is None else {key: []}
        for pushed in events:
            found.setdefault(key_of_event(producer.name, pushed.source, pushed.id), [pushed.record(now)])
        return [Guarded(*pair) for pair in found.items()]


def _key(push: Push, producer: Producer) -> Key | None:
    found = read_key(push.headers)
    if found is None:
        return None
    query = "&".join(f"{name}={value}" for name, value in push.query.items())
    return key_of_request(producer.name, found, push.headers, query, push.body)
