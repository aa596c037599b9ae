"""Consumers: clients that have registered. What `POST` and `DELETE /consumers` do."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from multidict import MultiMapping

from services.experience_api.admission import Admission
from services.experience_api.allow_list import Origin
from services.experience_api.clients import Verifier
from services.experience_api.credentials import read_client
from services.experience_api.refusals import LOOPBACK_ONLY, Refused
from services.experience_api.registry.protocol import Client, Consumers
from services.experience_api.tokens import Tokens
from shared.clock import Clock

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registered:
    """What a client is told that has registered."""

    client_id: str
    token: str = field(repr=False)


class Registration:
    """Registers clients, and forgets them."""

    def __init__(
        self, admission: Admission, verifier: Verifier, consumers: Consumers, tokens: Tokens, clock: Clock
    ) -> None:
        self._admission = admission
        self._verifier = verifier
        self._consumers = consumers
        self._tokens = tokens
        self._clock = clock

    async def register(self, headers: MultiMapping[str], origin: Origin) -> Registered:
        """Return a new token, which replaces the one before; a connection with that one is closed as `REPLACED`.

        Raises:
            Refused: `WRONG_CREDENTIALS`, `LOOPBACK_ONLY`, `BUSY`, `TOO_MANY_ATTEMPTS`, `DRAINING`.
            Unavailable: the registry does not answer.
        """
        async with self._known(headers, origin) as client:
            issued = self._tokens.issue(client.client_id, self._clock.time())
            await self._consumers.register(issued.claims)
        logger.info("client %s has registered", client.client_id, extra={"client_id": client.client_id})
        return Registered(client.client_id, issued.token)

    async def forget(self, headers: MultiMapping[str], origin: Origin) -> None:
        """Make the client's token worthless and close its connection; one that has none is no error.

        Raises:
            Refused, Unavailable: as for `register`.
        """
        async with self._known(headers, origin) as client:
            await self._consumers.forget(client.client_id)
        logger.info("consumer %s is forgotten", client.client_id, extra={"client_id": client.client_id})

    @asynccontextmanager
    async def _known(self, headers: MultiMapping[str], origin: Origin) -> AsyncIterator[Client]:
        with self._admission.attempt(origin.budget_key, self._clock.monotonic()) as attempt:
            client = await self._verifier.verified(read_client(headers))
            if client.loopback_only and not origin.loopback:
                raise Refused(LOOPBACK_ONLY, f"{LOOPBACK_ONLY.title}: {origin.not_loopback}")
            yield client
            attempt.succeeded(self._clock.monotonic())
