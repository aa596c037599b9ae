"""Where leases are kept. Each sentence that promises something is a test in `tests/contracts/lease/`."""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """The lease is ours."""

    epoch: int
    """Greater than that of any owner before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else has it."""

    expires_in: float
    """Seconds until it is free, unless its owner renews it."""


class LeaseStore(Protocol):
    """Leases by name. Every operation is atomic, and time is the store's own, so that all replicas agree on it.

    All raise `Unavailable` where the store does not answer; whether the operation took place is then not known.
    """

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        """Take a lease that is free or has expired, for `ttl` seconds.

        One that `owner` itself holds is granted anew at once, under the next epoch: a replica that was killed and came
        back need not wait for itself, and what is left of its earlier life is fenced. So the name of an owner is
        unique among all that live.
        """
        ...

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Hold on for `ttl` seconds from now; False where it has expired or is another's."""
        ...

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """Give it back, and tell those who wait. Nothing happens where it is another's by now."""
        ...

    def freed(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a lease: the event is set whenever it may have been released. A hint, which may be missed."""
        ...
