"""Clients: who may register. Adding them, and checking the credentials that requests present.

Comparing a chosen secret costs some 50 ms of a core on purpose. So it happens in a few threads beside the event loop,
behind a short queue, and its outcome is remembered for a moment: a flood of wrong secrets costs those threads and
nothing else, and what it can hold up are other chosen secrets, never a generated one.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Self

from pydantic import Field

from services.experience_api.auth.credentials import ClientCredentials, client_id
from services.experience_api.auth.secrets import Bytes, Comparison, generate, hash_secret, is_generated
from services.experience_api.hub.audience import check_pattern
from services.experience_api.refusals import BUSY, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.protocol import Client, Clients
from shared.errors import Malformed
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.settings import Options

EVERY_CHANNEL = ("**",)


class ClientExists(Malformed):
    """The id is taken."""


class VerifyOptions(Options):
    """How much comparing of chosen secrets is afforded; generated ones cost next to nothing."""

    threads: int = Field(default=1, ge=1, le=16)
    """Comparisons at once. Each occupies a core for some 50 ms, and 16 MiB."""

    queue: int = Field(default=16, ge=0)
    """How many more may wait; those beyond are told to come back."""

    remember: float = Field(default=30.0, ge=0)
    """Seconds for which the outcome of a comparison is known without another."""

    remembered: int = Field(default=1000, ge=0)
    """How many outcomes are remembered."""


async def add_client(  # noqa: PLR0913 -- what there is to say of a client, each by its name
    clients: Clients,
    name: str,
    *,
    secret: str | None = None,
    channels: Iterable[str] = EVERY_CHANNEL,
    may_send: bool = False,
    loopback_only: bool = False,
    note: str = "",
    rng: Bytes = secrets.token_bytes,
) -> str:
    """Add a client and return its secret, which is not kept and cannot be told again; generated unless chosen.

    Raises:
        ClientExists: the id is taken; nothing has changed.
        Malformed: the id, the chosen secret or a pattern of channels is not of the right form.
        Unavailable: the registry does not answer.
    """
    chosen = generate(rng) if secret is None else secret
    client = Client(
        client_id(name),
        await asyncio.to_thread(hash_secret, chosen, rng),
        tuple(check_pattern(pattern) for pattern in channels),
        may_send=may_send,
        loopback_only=loopback_only,
        note=note,
    )
    if not await clients.add(client):
        raise ClientExists(f"client {name!r} exists already")
    return chosen


class _Outcome(NamedTuple):
    matches: bool
    until: float


class Verifier:
    """Tells whether presented credentials are a client's."""

    def __init__(
        self,
        clients: Clients,
        options: VerifyOptions,
        pool: ThreadPoolExecutor,
        clock: Clock,
        rng: Bytes,
    ) -> None:
        """Use `opened`."""
        self._clients = clients
        self._options = options
        self._pool = pool
        self._clock = clock
        self._comparison = Comparison(rng)
        # What is remembered must not be of use to whoever reads this process's memory from a dump.
        self._salt = rng(32)
        self._outcomes: OrderedDict[bytes, _Outcome] = OrderedDict()
        self._waiting = 0

    @classmethod
    @contextmanager
    def opened(
        cls,
        clients: Clients,
        options: VerifyOptions,
        *,
        clock: Clock = SYSTEM_CLOCK,
        rng: Bytes = secrets.token_bytes,
    ) -> Iterator[Self]:
        """Have threads for as long as the context lasts."""
        pool = ThreadPoolExecutor(options.threads, thread_name_prefix="secrets")
        try:
            yield cls(clients, options, pool, clock, rng)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def verified(self, credentials: ClientCredentials) -> Client:
        """Return the client that these are the credentials of.

        Takes the same time whatever is wrong with them.

        Raises:
            Refused: `WRONG_CREDENTIALS`: no such client, another secret, or disabled; `BUSY`.
            Unavailable: the registry does not answer.
        """
        client = await self._clients.find(credentials.client_id)
        matches = await self._matches(credentials.secret, None if client is None else client.secret_hash)
        if client is None or client.disabled or not matches:
            raise Refused(WRONG_CREDENTIALS)
        return client

    async def _matches(self, presented: str, stored: str | None) -> bool:
        if is_generated(presented):
            return self._comparison.matches(presented, stored)
        # The stored hash is part of the key: what was true of another secret is not remembered of this one.
        key = hashlib.blake2b(f"{stored or ''}\0{presented}".encode(), key=self._salt).digest()
        known = self._outcomes.get(key)
        if known is not None and known.until > self._clock.monotonic():
            return known.matches
        matches = await self._compare(presented, stored)
        self._outcomes[key] = _Outcome(matches, self._clock.monotonic() + self._options.remember)
        self._outcomes.move_to_end(key)
        if len(self._outcomes) > self._options.remembered:
            self._outcomes.popitem(last=False)
        return matches

    async def _compare(self, presented: str, stored: str | None) -> bool:
        if self._waiting >= self._options.threads + self._options.queue:
            raise Refused(BUSY, retry_after=1.0)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._comparison.matches, presented, stored)
        finally:
            self._waiting -= 1
