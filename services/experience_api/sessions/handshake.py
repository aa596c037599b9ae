"""Admits a request for the stream: authenticates it, claims the client's one connection, and returns its slot.

Cheap checks come first. The database sees no token that this service did not sign.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager

from multidict import MultiMapping

from services.experience_api.auth.admission import Admission
from services.experience_api.auth.credentials import SUBPROTOCOL, offered_protocols, read_token
from services.experience_api.auth.tokens import Tokens
from services.experience_api.hub.audience import ChannelNotPermitted, Subscriber, narrow
from services.experience_api.refusals import CHANNEL_NOT_PERMITTED, MALFORMED, UNAVAILABLE, Refused
from services.experience_api.registry.protocol import Claim
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Malformed
from shared.http.origin import Origin
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_TIMEOUT = 10.0
"""Seconds for the claim. A holder that does not answer takes two, a slow database takes some."""

_PARAMETERS = frozenset({"channels", "cursor"})
_ANY = ("**",)


class Handshake:
    """Admits consumers to the stream."""

    def __init__(self, admission: Admission, tokens: Tokens, connections: Connections, clock: Clock) -> None:
        self._admission = admission
        self._tokens = tokens
        self._connections = connections
        self._clock = clock

    @asynccontextmanager
    async def admit(
        self,
        headers: MultiMapping[str],
        query: MultiMapping[str],
        origin: Origin,
        gone: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[ConnectionSlot]:
        """Hold the consumer's slot while the context is open. `gone` returns whether its peer has disconnected.

        Raises:
            Refused: the request is not admitted.
            Unavailable: the registry does not answer.
        """
        async with AsyncExitStack() as stack:
            with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
                carried = read_token(headers)
                claims = self._tokens.read(carried.token, carried.client_id)
                attempt.proven(_lane(claims), self._clock.monotonic())
                with _log_refusal(claims.client_id):
                    channels, cursor = _requested(query)
                    slot, claim = await self._slot(stack, self._connections.slot(claims, origin, gone))
                    slot.subscriber = _subscriber(claim, channels)
                    slot.cursor, slot.protocols = cursor, _protocols(headers)
                attempt.succeeded(self._clock.monotonic())
            yield slot

    async def _slot(
        self, stack: AsyncExitStack, opening: AbstractAsyncContextManager[ConnectionSlot]
    ) -> tuple[ConnectionSlot, Claim]:
        try:
            async with asyncio.timeout(_TIMEOUT):
                slot = await stack.enter_async_context(opening)
        except TimeoutError as exc:
            raise Refused(UNAVAILABLE, retry_after=1.0) from exc
        assert slot.claim is not None, "claimed on entering"
        return slot, slot.claim


def _lane(claims: TokenClaims) -> str:
    """Return what a genuine token is charged to: a replaced one must not exclude its successor."""
    return f"client {claims.client_id} {claims.token_hash.hex()}"


@contextmanager
def _log_refusal(client_id: str) -> Iterator[None]:
    """Log the refusal of a genuine token. Its client is known, and the client's budget bounds how often."""
    try:
        yield
    except Refused as exc:
        logger.info(
            "connection refused",
            extra={"client_id": client_id, "reason": exc.refusal.code, "error": exc.detail},
        )
        raise


def _requested(query: MultiMapping[str]) -> tuple[str | None, str | None]:
    """Return the requested channels and cursor."""
    for name in query:
        if name not in _PARAMETERS:
            raise Refused(MALFORMED, f"query parameter {name[:40]!r}: expected channels, cursor")
        if len(query.getall(name)) > 1:
            raise Refused(MALFORMED, f"query parameter {name!r}: found more than once; expected once")
    channels = query.get("channels")
    try:
        narrow(_ANY, channels)  # checks the form of the names; the claim tells which are permitted
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
