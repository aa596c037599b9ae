"""Registers and unregisters consumers: `POST` and `DELETE /consumers`."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from multidict import MultiMapping

from services.experience_api.auth.admission import Admission, Attempt
from services.experience_api.auth.credentials import ClientCredentials, read_client
from services.experience_api.auth.tokens import Tokens
from services.experience_api.auth.turns import Turns
from services.experience_api.auth.verifier import Verifier
from services.experience_api.refusals import LOOPBACK_ONLY, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.clients import Client
from services.experience_api.registry.protocol import Consumers
from services.experience_api.registry.tokens import TokenClaims
from shared.http.origin import Origin
from shared.runtime.clock import Clock
from shared.runtime.logs import LineLimit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """A completed registration."""

    client_id: str
    token: str = field(repr=False)


class Registration:
    """Registers and unregisters clients."""

    def __init__(
        self,
        admission: Admission,
        verifier: Verifier,
        consumers: Consumers,
        tokens: Tokens,
        clock: Clock,
        overlap: float = 0.0,
    ) -> None:
        """`overlap` is the seconds for which a replaced token remains valid."""
        self._admission = admission
        self._verifier = verifier
        self._consumers = consumers
        self._tokens = tokens
        self._clock = clock
        self._overlap = overlap
        self._turns = Turns()
        self._refused = LineLimit()

    async def register(self, headers: MultiMapping[str], origin: Origin) -> Registered:
        """Return a new token, which replaces the previous one; a connection with that one ends with `REPLACED`.

        Both at once, or after the overlap of the settings.

        Raises:
            Refused: `WRONG_CREDENTIALS`, `LOOPBACK_ONLY`, `BUSY`, `TOO_MANY_ATTEMPTS`, `DRAINING`.
            Unavailable: the registry does not answer.
        """
        async with self._authenticated(headers, origin) as client:
            issued = self._tokens.issue(client.client_id, self._clock.time())
            await self._store(issued.claims, client, headers, origin)
        logger.info("consumer registered", extra={"client_id": client.client_id})
        return Registered(client.client_id, issued.token)

    async def _store(self, claims: TokenClaims, client: Client, headers: MultiMapping[str], origin: Origin) -> None:
        """Store a token, with a client as it was when its secret was compared."""
        try:
            await self._consumers.register(claims, self._overlap, secret_hash=client.secret_hash)
        except Refused:
            # The secret may have been replaced meanwhile, and still be valid for an overlap.
            client = await self._verifier.verify(read_client(headers), origin.budget_key)
            await self._consumers.register(claims, self._overlap, secret_hash=client.secret_hash)

    async def unregister(self, headers: MultiMapping[str], origin: Origin) -> None:
        """Invalidate the client's token and end its connection. A client without one is no error.

        Raises:
            Refused, Unavailable: as for `register`.
        """
        async with self._authenticated(headers, origin) as client:
            await self._consumers.unregister(client.client_id)
        logger.info("consumer unregistered", extra={"client_id": client.client_id})

    @asynccontextmanager
    async def _authenticated(self, headers: MultiMapping[str], origin: Origin) -> AsyncIterator[Client]:
        with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
            client = await self._allowed(headers, origin, attempt)
            yield client
            attempt.succeeded(self._clock.monotonic())

    async def _allowed(self, headers: MultiMapping[str], origin: Origin, attempt: Attempt) -> Client:
        """Return the client that sent a request; log that it is none, or not from where it may be."""
        client_id = ""
        try:
            credentials = read_client(headers)
            client_id = credentials.client_id
            client = await self._verified(credentials, origin, attempt)
            if client.loopback_only:
                _expect_loopback(origin)
        except Refused as exc:
            if exc.refusal in {WRONG_CREDENTIALS, LOOPBACK_ONLY}:
                self._log_refusal(client_id, origin, exc.refusal.code)
            raise
        return client

    def _log_refusal(self, client_id: str, origin: Origin, reason: str) -> None:
        if count := self._refused.passed(self._clock.monotonic()):
            fields = {"client_id": client_id, "address": str(origin.address), "reason": reason, "count": count}
            logger.warning("registration refused", extra=fields)

    async def _verified(self, credentials: ClientCredentials, origin: Origin, attempt: Attempt) -> Client:
        lane = f"client {credentials.client_id}"
        if self._verifier.knows(credentials):
            attempt.proven(lane, self._clock.monotonic())
            return await self._verifier.verify(credentials, origin.budget_key)
        async with AsyncExitStack() as stack:
            if attempt.crowded:
                await stack.enter_async_context(self._turns.turn(origin.budget_key))
            client = await self._verifier.verify(credentials, origin.budget_key)
        attempt.proven(lane, self._clock.monotonic())
        return client


def _expect_loopback(origin: Origin) -> None:
    if not origin.loopback:
        raise Refused(LOOPBACK_ONLY, f"{LOOPBACK_ONLY.title}: {origin.not_loopback}")
