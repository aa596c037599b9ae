"""Verifies the credentials of clients that requests present.

Comparing a chosen secret costs some 50 ms of a core on purpose. So it runs in a few threads outside the event loop,
behind a short queue, and its outcome is cached for a moment: a flood of wrong secrets occupies those threads only, and
can delay other chosen secrets, never a generated one, nor one that was right before.
"""

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, Self, TypeVar

from pydantic import Field

from services.experience_api.auth.admission import Budgets
from services.experience_api.auth.credentials import ClientCredentials
from services.experience_api.auth.secrets import Bytes, Comparison, is_generated
from services.experience_api.auth.turns import Turns
from services.experience_api.refusals import BUSY, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.clients import Client
from services.experience_api.registry.protocol import Clients
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.settings import Options

Kept = TypeVar("Kept")


class VerifyOptions(Options):
    """Limits on comparing chosen secrets. Generated secrets cost almost nothing."""

    threads: int = Field(default=1, ge=1, le=16)
    """Concurrent comparisons. Each occupies a core for some 50 ms, and 16 MiB."""

    queue: int = Field(default=16, ge=0)
    """Comparisons that may wait, one for each address. Those beyond the limit are refused as busy."""

    cache_ttl: float = Field(default=30.0, ge=0)
    """Seconds for which the outcome of a comparison is cached."""

    cache_size: int = Field(default=1000, ge=0)
    """Outcomes in the cache."""

    guesses: int = Field(default=20, ge=1)
    """Wrong chosen secrets that may be tried at once for one client from one address. The same one again is no guess.
    """

    guesses_per_second: float = Field(default=2.0, gt=0)
    """Guesses regained per second."""

    known_ttl: float = Field(default=86_400.0, ge=0)
    """Seconds for which the credentials of a client count as known after they were right. Known ones are verified
    whatever else fails at the same address; they do not wait behind others."""

    known_size: int = Field(default=10_000, ge=0)
    """Known credentials, some 200 bytes each. Beyond it, the least recent are dropped."""


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
        # A memory dump of this process must not reveal the secrets behind what is cached.
        self._salt = rng(32)
        self._cache: OrderedDict[bytes, _Outcome] = OrderedDict()
        self._known: OrderedDict[bytes, float] = OrderedDict()
        """Credentials that were right, and until when they count as known."""
        self._guesses = Budgets(options.guesses, options.guesses_per_second, options.known_size)
        self._turns = Turns()
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

    def knows(self, credentials: ClientCredentials) -> bool:
        """Return whether these credentials were right before, and will be again unless the client has changed."""
        return self._known.get(self._digest(credentials.client_id, credentials.secret), 0.0) > self._clock.monotonic()

    async def verify(self, credentials: ClientCredentials, address: str = "") -> Client:
        """Return the client with these credentials. `address` is charged with a wrong guess of a chosen secret.

        Takes the same time whatever is wrong with them.

        Raises:
            Refused: `WRONG_CREDENTIALS`: unknown client, wrong secret, or disabled; `BUSY`; `TOO_MANY_ATTEMPTS`: too
                many guesses.
            Unavailable: the registry does not answer.
        """
        client = await self._clients.find(credentials.client_id)
        matches = await self._matches(credentials, () if client is None else client.secret_hashes, address)
        key = self._digest(credentials.client_id, credentials.secret)
        if client is None or client.disabled or not matches:
            self._known.pop(key, None)
            raise Refused(WRONG_CREDENTIALS)
        _keep(self._known, key, self._clock.monotonic() + self._options.known_ttl, self._options.known_size)
        return client

    async def _matches(self, credentials: ClientCredentials, stored: Sequence[str], address: str) -> bool:
        presented = credentials.secret
        if is_generated(presented):
            return self._comparison.matches(presented, stored)
        # The stored hashes are part of the key: a cached outcome is void once the secret has changed.
        key = self._digest(*stored, presented)
        cached = self._cache.get(key)
        if cached is not None and cached.until > self._clock.monotonic():
            return cached.matches
        if self.knows(credentials):
            matches = await self._compare(presented, stored)
        else:
            # In turns, so that one address cannot fill the queue of all.
            async with self._turns.turn(address):
                matches = await self._guess(presented, stored, f"{credentials.client_id} {address}")
        outcome = _Outcome(matches, self._clock.monotonic() + self._options.cache_ttl)
        _keep(self._cache, key, outcome, self._options.cache_size)
        return matches

    async def _guess(self, presented: str, stored: Sequence[str], guesser: str) -> bool:
        began = self._clock.monotonic()
        self._guesses.take(guesser, began)
        wrong = False
        try:
            wrong = not await self._queued(presented, stored)
        finally:
            if not wrong:  # right, or not compared
                self._guesses.give_back(guesser, began)
        return not wrong

    async def _queued(self, presented: str, stored: Sequence[str]) -> bool:
        if self._waiting >= self._options.threads + self._options.queue:
            raise Refused(BUSY, retry_after=1.0)
        self._waiting += 1
        try:
            return await self._compare(presented, stored)
        finally:
            self._waiting -= 1

    async def _compare(self, presented: str, stored: Sequence[str]) -> bool:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._comparison.matches, presented, stored)

    def _digest(self, *parts: str) -> bytes:
        return hashlib.blake2b("\0".join(parts).encode(), key=self._salt).digest()


def _keep(cache: OrderedDict[bytes, Kept], key: bytes, value: Kept, size: int) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > size:
        cache.popitem(last=False)
