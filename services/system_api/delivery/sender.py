"""Sends events to `POST /entity`, and retries what is not confirmed.

A request that fails may have been stored: its events are sent again, with the same ids. So they arrive at least once.
Where a response has `Retry-After`, no source sends a request before that.

A response may name one event of a request that can never be accepted, such as one with an attribute that is reserved:
nothing of that request was stored, and its other events are sent without it. A response may be about the events of one
source alone: that source fails, and has an alert of its own. Anything else is an outage of the other side for all
sources, which readiness shows.
"""

import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple, Self

import aiohttp

from services.system_api.delivery.options import DeliverOptions
from shared.bus.protocol import Outgoing
from shared.errors import Fenced, SettingsError, TrelayError, Unavailable
from shared.http.client.beginning import beginning
from shared.http.client.reasons import reason_of
from shared.http.client.retry_after import retry_after
from shared.runtime.clock import Clock
from shared.runtime.retry import retrying

logger = logging.getLogger(__name__)

_CONTENT_TYPE = {"Content-Type": "application/cloudevents-batch+json"}
_STORED, _TOO_LARGE = 202, 413
_MALFORMED = {400, 415, 422}
_FORBIDDEN, _NOT_PERMITTED = 403, "publishing-not-permitted"
_DETAIL_LIMIT = 500
_PAUSE = 5.0
"""Seconds that one attempt waits at most where the other side has asked for a pause."""
_KEPT = 300.0
"""Seconds for which a problem is shown that no further request has met."""
_LONGEST_PAUSE = 3600.0
"""Seconds without a request that the other side can ask for."""
_READ_LIMIT = 65_536


class EventsRefused(TrelayError):
    """The other side refuses what a source sends, whichever events it is, and not what others do."""


class RefusedEvent(NamedTuple):
    """An event that the other side refuses for itself: a retry gives the same, and other events are accepted."""

    reason: str
    too_large: bool


class _Refusal(NamedTuple):
    """Nothing of a request is stored."""

    place: int | None
    """The event that is refused; None where the request is too large, and no event of it alone."""
    event: RefusedEvent


class Sender:
    """The connection to the experience layer, shared by all sources."""

    def __init__(
        self, options: DeliverOptions, session: aiohttp.ClientSession, clock: Clock, rng: random.Random
    ) -> None:
        self._problem: str | None = None
        self._noted_at = 0.0
        """When the problem was met last, by the monotonic clock."""
        self._options = options
        self._session = session
        self._headers = dict(_CONTENT_TYPE)
        if options.token is not None:
            self._headers["Authorization"] = f"Bearer {options.token.get_secret_value()}"
        self._clock = clock
        self._policy = retrying(options.retry, clock=clock, rng=rng)
        self._failed_at: float | None = None
        self._not_before = 0.0
        """When the other side wants the next request, of any source, by the monotonic clock."""
        self._fields = {"component": "delivery", "url": options.url}

    @classmethod
    @asynccontextmanager
    async def opened(cls, options: DeliverOptions, clock: Clock, rng: random.Random) -> AsyncIterator[Self]:
        """Provide a sender; it connects at its first request.

        Raises:
            SettingsError: the CA file or the certificate cannot be used.
        """
        context = _context(options)
        connector = aiohttp.TCPConnector() if context is None else aiohttp.TCPConnector(ssl=context)
        timeout = aiohttp.ClientTimeout(total=options.timeout)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield cls(options, session, clock, rng)

    @property
    def problem(self) -> str | None:
        """Why the last request failed; None if it did not, or long ago: its source may be paused, or run elsewhere."""
        return self._problem if self._clock.monotonic() - self._noted_at < _KEPT else None

    async def send(
        self, records: Sequence[Outgoing], owned: Callable[[], bool] = lambda: True
    ) -> Mapping[int, RefusedEvent]:
        """Send events in order; return once the other side has stored all of them but those that it refuses.

        These are returned by their index. `owned` tells before each request whether these are still the sender's to
        send: the other side cannot know, and older events would follow newer ones.

        Raises:
            Fenced: they are not.
            Unavailable: the retry policy is exhausted; some events may have been stored.
            EventsRefused: it refuses a request for what all events of the source have, such as their channel; earlier
                ones are stored.
        """
        refused: dict[int, RefusedEvent] = {}
        # Half as many events after a refusal, and then slowly more: many refusals must not make each request carry the
        # same events again, and the other side may take fewer at once than the settings say.
        pending, most = list(range(len(records))), self._options.batch_events
        while pending:
            body, count = _body([records[index].value for index in pending[:most]], self._options.batch_bytes)
            refusal: _Refusal | None = await self._policy(partial(self._attempt, body, count, owned))
            if refusal is None:
                del pending[:count]
                most = min(most + most // 4 + 1, self._options.batch_events)
                continue
            most = max(count // 2, 1)
            if (index := 0 if count == 1 else refusal.place) is not None:
                refused[pending.pop(index)] = refusal.event
        return refused

    async def _attempt(self, body: bytes, count: int, owned: Callable[[], bool]) -> _Refusal | None:
        """Send a request of so many events; return None once they are stored."""
        url = self._options.url
        await self._pause()
        if not owned():
            raise Fenced(f"{url}: another run of this source delivers, here or in another replica")
        try:
            async with self._session.post(url, data=body, headers=self._headers, allow_redirects=False) as answer:
                status, said, headers = answer.status, await beginning(answer.content, _READ_LIMIT), answer.headers
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise self._failed(reason_of(exc) or f"no response within {self._options.timeout:g} s") from exc
        text = f"{url} answered {status}: {_detail(said)}"
        named = _member(said, "event")
        index = named if isinstance(named, int) and 0 <= named < count else None
        if status == _TOO_LARGE or (status in _MALFORMED and index is not None):
            self._works()
            return _Refusal(index, RefusedEvent(text, too_large=status == _TOO_LARGE))
        if status in _MALFORMED or (status == _FORBIDDEN and _member(said, "code") == _NOT_PERMITTED):
            self._works()
            raise EventsRefused(text)
        if status != _STORED:
            self._note_pause(headers)
            raise self._failed(f"answered {status}: {_detail(said)}")
        self._works()
        return None

    async def _pause(self) -> None:
        """Wait until the other side wants the next request; raise `Unavailable` if that takes long."""
        left = self._not_before - self._clock.monotonic()
        if left <= 0:
            return
        self._noted_at = self._clock.monotonic()
        await self._clock.sleep(min(left, _PAUSE))
        if left > _PAUSE:
            raise Unavailable(self._problem or f"{self._options.url}: wants the next request in {left:.0f} s")

    def _note_pause(self, headers: Mapping[str, str]) -> None:
        wait = retry_after(headers, self._clock.time())
        if wait is not None:
            self._not_before = self._clock.monotonic() + min(wait, _LONGEST_PAUSE)

    def _failed(self, reason: str) -> Unavailable:
        if self._failed_at is None:
            self._failed_at = self._clock.monotonic()
            logger.warning("delivery failed; retrying", extra=self._fields | {"error": reason})
        self._problem, self._noted_at = f"{self._options.url}: {reason}", self._clock.monotonic()
        return Unavailable(self._problem)

    def _works(self) -> None:
        if self._failed_at is not None:
            after = round(self._clock.monotonic() - self._failed_at, 1)
            logger.info("delivery works again", extra=self._fields | {"after_s": after})
        self._problem = self._failed_at = None


def _body(values: Sequence[bytes | None], most_bytes: int) -> tuple[bytes, int]:
    """Return the body of a request with the first of these events, and how many they are: a JSON array, in order."""
    events: list[bytes] = []
    size = 0
    for found in values:
        value = found or b"null"
        if events and size + len(value) > most_bytes:
            break
        events.append(value)
        size += len(value) + 1
    return b"[" + b",".join(events) + b"]", len(events)


def _detail(body: bytes) -> str:
    text = _member(body, "detail")
    return str(body.decode(errors="replace") if text is None else text)[:_DETAIL_LIMIT]


def _member(body: bytes, name: str) -> object:
    """Return a member of problem details, None if there is none."""
    try:
        found = json.loads(body)
        return found[name]
    except (ValueError, TypeError, KeyError):
        return None


def _context(options: DeliverOptions) -> ssl.SSLContext | None:
    if options.ca_file is None and options.cert_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except OSError as exc:
        reason = f"{options.ca_file} contains no certificates: {exc.strerror or exc}"
        raise SettingsError(f"system.deliver.ca_file: {reason}") from exc
    if options.cert_file is not None:
        try:
            context.load_cert_chain(options.cert_file, options.key_file, lambda: "")
        except OSError as exc:
            reason = getattr(exc, "reason", None) or exc.strerror or "not a certificate with its key"
            raise SettingsError(f"system.deliver.cert_file: {options.cert_file}: {reason}") from exc
    return context
