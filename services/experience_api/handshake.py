"""From a request for the stream to a seat in it: who is it, may it come in now, is it the client's only one.

What is cheap is asked first. The database sees no token that this service did not sign.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from multidict import MultiMapping

from services.experience_api.admission import Admission
from services.experience_api.allow_list import Origin
from services.experience_api.connections import Connections
from services.experience_api.credentials import SUBPROTOCOL, offered_protocols, read_token
from services.experience_api.hub.audience import ChannelNotPermitted, narrow
from services.experience_api.hub.connection import Subscriber
from services.experience_api.refusals import CHANNEL_NOT_PERMITTED, MALFORMED, UNAVAILABLE, Refused
from services.experience_api.registry.protocol import Claim
from services.experience_api.seat import Seat
from services.experience_api.tokens import TokenClaims, Tokens
from shared.clock import Clock
from shared.errors import Malformed

logger = logging.getLogger(__name__)

_WITHIN = 10.0
"""Seconds for all of it. A holder that does not answer takes two, a database that is slow takes some."""

_PARAMETERS = frozenset({"channels", "cursor"})
_ANY = ("**",)


@dataclass(frozen=True, slots=True)
class Knock:
    """A request for the stream."""

    headers: MultiMapping[str]
    query: MultiMapping[str]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Guest:
    """Somebody who was let in."""

    subscriber: Subscriber
    seat: Seat
    cursor: str | None
    protocols: tuple[str, ...]
    """The subprotocols to answer with."""


class Handshake:
    """Lets consumers in."""

    def __init__(self, admission: Admission, tokens: Tokens, connections: Connections, clock: Clock) -> None:
        self._admission = admission
        self._tokens = tokens
        self._connections = connections
        self._clock = clock

    @asynccontextmanager
    async def let_in(self, knock: Knock) -> AsyncIterator[Guest]:
        """Be in for as long as the context lasts.

        Raises:
            Refused: whatever the matter is.
            Unavailable: the registry does not answer.
        """
        async with AsyncExitStack() as stack:
            with self._admission.attempt(knock.origin.budget_key, self._clock.monotonic()) as attempt:
                carried = read_token(knock.headers)
                claims = self._tokens.read(carried.token, carried.client_id)
                attempt.identified(claims.client_id, self._clock.monotonic())
                with _telling(claims.client_id):
                    guest = await self._seated(stack, knock, claims)
                attempt.succeeded(self._clock.monotonic())
            yield guest

    async def _seated(self, stack: AsyncExitStack, knock: Knock, claims: TokenClaims) -> Guest:
        channels, cursor = _asked(knock.query)
        seat, claim = await self._take_seat(stack, claims, knock.origin)
        return Guest(_subscriber(claim, channels), seat, cursor, _protocols(knock.headers))

    async def _take_seat(self, stack: AsyncExitStack, claims: TokenClaims, origin: Origin) -> tuple[Seat, Claim]:
        try:
            async with asyncio.timeout(_WITHIN):
                seat = await stack.enter_async_context(self._connections.seat(claims, origin))
        except TimeoutError as exc:
            raise Refused(UNAVAILABLE, retry_after=1.0) from exc
        assert seat.claim is not None, "claimed on entering"
        return seat, seat.claim


@contextmanager
def _telling(client_id: str) -> Iterator[None]:
    """Log the refusal of a genuine token: its client is known, and its budget bounds how often."""
    try:
        yield
    except Refused as exc:
        logger.info("client %s is refused: %s", client_id, exc, extra={"client_id": client_id})
        raise


def _asked(query: MultiMapping[str]) -> tuple[str | None, str | None]:
    """Return the channels and the cursor that are asked for."""
    for name in query:
        if name not in _PARAMETERS:
            raise Refused(MALFORMED, f"query parameter {name[:40]!r}: expected channels, cursor")
        if len(query.getall(name)) > 1:
            raise Refused(MALFORMED, f"query parameter {name!r} is there more than once")
    channels = query.get("channels")
    try:
        narrow(_ANY, channels)  # the names' form; whether they are permitted is known with the claim
    except Malformed as exc:
        raise Refused(MALFORMED, str(exc)) from exc
    return channels, query.get("cursor") or None


def _subscriber(claim: Claim, channels: str | None) -> Subscriber:
    try:
        interest = narrow(claim.channels, channels)
    except ChannelNotPermitted as exc:
        raise Refused(CHANNEL_NOT_PERMITTED, str(exc)) from exc
    return Subscriber(claim.connection_id, claim.client_id, interest, claim.may_send)


def _protocols(headers: MultiMapping[str]) -> tuple[str, ...]:
    return (SUBPROTOCOL,) if SUBPROTOCOL in offered_protocols(headers) else ()
