"""Receives the webhooks of one source: verifies, and answers once the delivery is durable.

headers     without a proof that could fit, the request is refused before its body is read
body        bounded in bytes and time
proof       compared with the body; until here nothing has reached the database
challenge   answered, and not stored
rate        of deliveries that are verified
store       with those that arrive at the same time; the answer is 2xx only after the commit
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from multidict import MultiMapping

from services.system_api.sources.http.webhook import metrics, refusals
from services.system_api.sources.http.webhook.identity import DeliveryReader, read_apart
from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Limits, Outcome
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.refusals import Refused
from services.system_api.sources.http.webhook.rounds import Rounds
from services.system_api.sources.http.webhook.verification import Proof, verifier
from shared.errors import Malformed, TooLarge, Unavailable
from shared.http.bodies import BodyReader, UnsupportedEncoding, encoding_of
from shared.http.client.pace import Pace, RateOptions
from shared.runtime import failpoints
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_STORE_TIMEOUT = 8.0
"""Seconds to wait for the database: senders wait 10 s (GitHub) or longer; Slack waits 3 s, and repeats."""
_LARGE = 262_144
"""Bytes from which a body is verified and evaluated in a thread: a megabyte takes some milliseconds."""
_LOG_INTERVAL = 10.0
_ENCODINGS = {"br", "compress", "deflate", "gzip", "x-gzip", "zstd"}
"""What HTTP knows, read or not."""

Read = Callable[[], Awaitable[bytes]]
"""Returns what has arrived of the body meanwhile, as it was sent, and nothing at the end."""


class Request(NamedTuple):
    """A request to `POST /hooks/{source}`."""

    headers: MultiMapping[str]
    size: int | None
    """The bytes of the body, if the request tells."""
    read: Read
    address: str
    """The peer, for the log."""


class Answer(NamedTuple):
    """The answer to a request that is not refused."""

    outcome: str
    challenge: bytes | None = None
    """The JSON to answer a challenge with."""


class Receiver:
    """Receives what one sender delivers."""

    def __init__(
        self, name: str, options: WebhookSourceOptions, inbox: Inbox, counts: WebhookMetrics, clock: Clock
    ) -> None:
        self._name = name
        self._options = options
        self._clock = clock
        self._counts = counts
        self._verify = verifier(options.verify)
        self._reader = DeliveryReader(options)
        self._pace = Pace(RateOptions(requests=options.rate, burst=options.rate))
        limits = Limits(options.inbox_limit, options.inbox_bytes)
        self._rounds = Rounds(partial(_store, inbox, name, limits))
        self._in_progress = 0
        self._logged_at = -_LOG_INTERVAL
        self._unlogged = 0

    async def receive(self, request: Request) -> Answer:
        """Return the answer to a request; a delivery is durable then.

        Raises:
            Refused: nothing is stored, or with `UNAVAILABLE` it is not known.
        """
        try:
            answer = await self._received(request)
        except Refused as exc:
            self._counts.count(self._name, exc.refusal.code)
            self._log(exc, request.address)
            raise
        except BaseException:
            self._counts.count(self._name, metrics.FAILED)
            raise
        self._counts.count(self._name, answer.outcome)
        return answer

    async def _received(self, request: Request) -> Answer:
        proof = self._verify(request.headers, self._clock.time())
        if self._in_progress >= self._options.max_concurrent:
            raise Refused(refusals.BUSY)
        self._in_progress += 1
        try:
            body = await self._body(request)
            await _check(proof, body)
            challenge = self._reader.challenge(body)
            if challenge is not None:
                return Answer(metrics.CHALLENGE, challenge)
            return await self._stored(request, body)
        finally:
            self._in_progress -= 1

    async def _body(self, request: Request) -> bytes:
        limit = self._options.body_limit
        if request.size is not None and request.size > limit:
            raise Refused(refusals.TOO_LARGE, f"found {request.size} bytes, the limit is {limit}")
        try:
            reader = BodyReader(_encoding(request.headers), limit)
            async with asyncio.timeout(self._options.body_timeout):
                return await reader.whole(request.read)
        except TimeoutError as exc:
            raise Refused(refusals.TOO_SLOW, f"the limit is {self._options.body_timeout:g} seconds") from exc
        except TooLarge as exc:
            raise Refused(refusals.TOO_LARGE, f"the limit is {limit} bytes") from exc
        except UnsupportedEncoding as exc:
            raise Refused(refusals.UNSUPPORTED_TYPE, str(exc)) from exc
        except Malformed as exc:
            raise Refused(refusals.MALFORMED, str(exc)) from exc

    async def _stored(self, request: Request, body: bytes) -> Answer:
        now = self._clock.monotonic()
        if (wait := self._pace.wait(now)) > 0:
            raise Refused(refusals.RATE_LIMITED, retry_after=wait)
        self._pace.sent(now)
        delivery = await self._read(request, body)
        try:
            async with asyncio.timeout(_STORE_TIMEOUT):
                outcome = await self._rounds.join(delivery)
        except (Unavailable, TimeoutError) as exc:
            raise Refused(refusals.UNAVAILABLE) from exc
        failpoints.reach("webhook.stored")
        if outcome is Outcome.FULL:
            raise Refused(refusals.INBOX_FULL)
        return Answer(metrics.ACCEPTED if outcome is Outcome.STORED else metrics.REPEATED)

    async def _read(self, request: Request, body: bytes) -> Delivery:
        if len(body) < _LARGE or not self._reader.evaluates:
            return self._reader.read(request.headers, body)
        found = await asyncio.to_thread(read_apart, self._options, request.headers, body)
        if isinstance(found, Refused):
            raise found
        return found

    def _log(self, refused: Refused, address: str) -> None:
        """Log one refusal in a while: a flood must not fill the log."""
        self._unlogged += 1
        now = self._clock.monotonic()
        if now - self._logged_at >= _LOG_INTERVAL:
            fields = {"component": "webhooks", "source": self._name, "code": refused.refusal.code}
            fields |= {"reason": refused.detail, "address": address}
            logger.warning("webhook refused", extra={**fields, "count": self._unlogged})
            self._logged_at, self._unlogged = now, 0


def _encoding(headers: MultiMapping[str]) -> str:
    """Return the encoding of a body; one that HTTP does not know, as of a sender that names a charset, is none."""
    found = encoding_of(headers)
    return found if set(found.split(", ")) & _ENCODINGS else ""


async def _store(inbox: Inbox, name: str, limits: Limits, deliveries: Sequence[Delivery]) -> list[Outcome]:
    return await inbox.store(name, deliveries, limits)


async def _check(proof: Proof, body: bytes) -> None:
    if len(body) < _LARGE:
        proof.check(body)
    else:
        await asyncio.to_thread(proof.check, body)
