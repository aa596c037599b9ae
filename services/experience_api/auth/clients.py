"""Adds clients, and verifies the credentials that requests present.

Comparing a chosen secret costs some 50 ms of a core on purpose. So it runs in a few threads outside the event loop,
behind a short queue, and its outcome is cached for a moment: a flood of wrong secrets occupies those threads only, and
can delay other chosen secrets, never a generated one.
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
    """A client with this id exists."""


class VerifyOptions(Options):
    """Limits on comparing chosen secrets. Generated secrets cost almost nothing."""

    threads: int = Field(default=1, ge=1, le=16)
    """Concurrent comparisons. Each occupies a core for some 50 ms, and 16 MiB."""

    queue: int = Field(default=16, ge=0)
    """Comparisons that may wait. Those beyond the limit are refused as busy."""

    cache_ttl: float = Field(default=30.0, ge=0)
    """Seconds for which the outcome of a comparison is cached."""

    cache_size: int = Field(default=1000, ge=0)
    """Outcomes in the cache."""


async def add_client(  # noqa: PLR0913 -- the attributes of a client, by keyword
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
    """Add a client and return its secret, generated unless given. Only its hash is stored.

    Raises:
        ClientExists: a client with this id exists; nothing has changed.
        Malformed: the id, the given secret or a channel pattern is invalid.
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
        raise ClientExists(f"client {name!r} already exists")
    return chosen


class _Outcome(NamedTuple):
    matches: bool
    until: float


class Verifier:
    """Verifies credentials."""

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
        # A memory dump of this process must not reveal the secrets behind cached outcomes.
        self._salt = rng(32)
        self._cache: OrderedDict[bytes, _Outcome] = OrderedDict()
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
        """Run its threads while the context is open."""
        pool = ThreadPoolExecutor(options.threads, thread_name_prefix="secrets")
        try:
            yield cls(clients, options, pool, clock, rng)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def verify(self, credentials: ClientCredentials) -> Client:
        """Return the client with these credentials.

        Takes the same time whatever is wrong with them.

        Raises:
            Refused: `WRONG_CREDENTIALS`: unknown client, wrong secret, or disabled; `BUSY`.
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
        # The stored hash is part of the key: a cached outcome is void once the secret has changed.
        key = hashlib.blake2b(f"{stored or ''}\0{presented}".encode(), key=self._salt).digest()
        cached = self._cache.get(key)
        if cached is not None and cached.until > self._clock.monotonic():
            return cached.matches
        matches = await self._compare(presented, stored)
        self._cache[key] = _Outcome(matches, self._clock.monotonic() + self._options.cache_ttl)
        self._cache.move_to_end(key)
        if len(self._cache) > self._options.cache_size:
            self._cache.popitem(last=False)
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
