"""Admits a request for the stream: authenticates it, claims the client's one connection, and returns its slot.

Cheap checks come first. The database sees no token that this service did not sign.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial

from multidict import MultiMapping

from services.experience_api.auth.admission import Admission
from services.experience_api.auth.credentials import SUBPROTOCOL, offered_protocols, read_token
from services.experience_api.auth.tokens import Ticket, Tokens
from services.experience_api.hub.audience import ChannelNotPermitted, Subscriber, narrow
from services.experience_api.refusals import (
    BUSY,
    CHANNEL_NOT_PERMITTED,
    TICKET_REFUSED,
    TOO_MANY_ATTEMPTS,
    UNAVAILABLE,
    Refused,
)
from services.experience_api.registry.protocol import Claim, Tickets
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.changes import read_change, wanted_of
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.requested import Requested, read_requested
from services.experience_api.sessions.slots import ConnectionSlot
from services.experience_api.sessions.subscriptions import Subscribed
from shared.http.origin import Origin
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_TIMEOUT = 10.0
"""Seconds for the claim. A holder that does not answer takes two, a slow database takes some."""


class Handshake:
    """Admits consumers to the stream."""

    def __init__(
        self, admission: Admission, tokens: Tokens, tickets: Tickets, connections: Connections, clock: Clock
    ) -> None:
        self._admission = admission
        self._tickets = tickets
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
        more: tuple[str, ...] = (),
    ) -> AsyncIterator[ConnectionSlot]:
        """Hold the consumer's slot while the context is open. `gone` returns whether its peer has disconnected.

        `more` are the query parameters that the endpoint reads itself.

        Raises:
            Refused: the request is not admitted.
            Unavailable: the registry does not answer.
        """
        async with AsyncExitStack() as stack:
            with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
                claims, ticket = self._read(headers, query)
                with of_genuine(claims.client_id):
                    attempt.proven(_lane(claims), self._clock.monotonic())
                    requested = read_requested(headers, query, more, now=self._clock.time())
                    await self._use(ticket)
                    slot, claim = await self._slot(stack, self._connections.slot(claims, origin, gone))
                    wanted = wanted_of(requested.channels, requested.filters, requested.conflate)
                    slot.admit(claim, wanted, partial(_subscriber, claim, requested))
                    slot.cursor, slot.since, slot.snapshot = requested.cursor, requested.since, requested.snapshot
                    slot.protocols = _protocols(headers)
                attempt.succeeded(self._clock.monotonic())
            yield slot

    async def ticket(self, headers: MultiMapping[str], page: str, origin: Origin) -> str:
        """Return a ticket for the holder of a token, which pages of the origin `page` can use once.

        Raises:
            Refused: the token is not valid.
            Unavailable: the registry does not answer.
        """
        with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
            carried = read_token(headers)
            claims = self._tokens.read(carried.token, carried.client_id)
            attempt.proven(_lane(claims), self._clock.monotonic())
            await self._connections.check(claims)
            now = await self._tickets.time()
            attempt.succeeded(self._clock.monotonic())
        return self._tokens.issue_ticket(claims, page, now)

    async def subscribe(
        self,
        headers: MultiMapping[str],
        query: MultiMapping[str],
        read_body: Callable[[], Awaitable[bytes]],
        origin: Origin,
    ) -> Subscribed:
        """Change what a connection receives, for the holder of a token or a ticket of its client.

        Returns what it receives from when on. The body is read once the token is found to be genuine, and a ticket is
        used once the body is found to be valid.

        Raises:
            Refused: the token is not valid, there is no such connection, or the change is not permitted.
            Unavailable: the registry does not answer.
        """
        with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
            claims, ticket = self._read(headers, query)
            attempt.proven(_lane(claims), self._clock.monotonic())
            change = read_change(await read_body())
            await self._use(ticket)
            await self._connections.check(claims)
            found = await self._connections.subscriptions.change(claims.client_id, change)
            attempt.succeeded(self._clock.monotonic())
        return found

    def _read(self, headers: MultiMapping[str], query: MultiMapping[str]) -> tuple[TokenClaims, Ticket | None]:
        """Return what the request proves to be, and its ticket if it has one."""
        if "ticket" in query:
            found = self._tokens.read_ticket(query["ticket"], headers.get("Origin", ""))
            return found.claims, found
        carried = read_token(headers)
        return self._tokens.read(carried.token, carried.client_id), None

    async def _use(self, ticket: Ticket | None) -> None:
        if ticket is not None and not await self._tickets.use_ticket(ticket.ticket_hash, ticket.expires):
            raise Refused(TICKET_REFUSED, "the ticket has expired, or was used before")

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
def of_genuine(client_id: str) -> Iterator[None]:
    """Mark and log the refusal of a genuine token. Its client is known, and the client's budget bounds how often."""
    try:
        yield
    except Refused as exc:
        exc.genuine = True
        if exc.refusal in {TOO_MANY_ATTEMPTS, BUSY}:
            raise
        logger.info(
            "connection refused",
            extra={"client_id": client_id, "reason": exc.refusal.code, "error": exc.detail},
        )
        raise


def _subscriber(claim: Claim, requested: Requested, channels: tuple[str, ...]) -> Subscriber:
    try:
        interest = narrow(channels, requested.channels, requested.filters, requested.conflate)
    except ChannelNotPermitted as exc:
        raise Refused(CHANNEL_NOT_PERMITTED, str(exc)) from exc
    return Subscriber(
        claim.connection_id,
        claim.client_id,
        interest,
        claim.may_send,
        requested.heartbeat,
        requested.watermarks,
        requested.answers,
    )


def _protocols(headers: MultiMapping[str]) -> tuple[str, ...]:
    return (SUBPROTOCOL,) if SUBPROTOCOL in offered_protocols(headers) else ()
