"""The store of leases. `tests/contracts/lease/` has a test for each guarantee below."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Granted:
    """The lease was granted."""

    epoch: int
    """Greater than the epoch of any owner before."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Another owner has the lease."""

    expires_in: float
    """Seconds until it expires, unless its owner renews it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that has not expired."""

    name: str
    owner: str
    epoch: int
    expires_in: float
    """Seconds until it expires, unless its owner renews it."""


def watched(name: str) -> tuple[str, str]:
    """Return the names under which a lease may be watched; see `LeaseStore.watch`."""
    return name, name[: name.rfind("/") + 1]


class LeaseStore(Protocol):
    """Leases by name. Every operation is atomic, and all replicas use the clock of the store.

    All methods raise `Unavailable` if the store does not answer; it is not known then whether the operation took place.
    """

    async def acquire(self, name: str, owner: str, ttl: float) -> Granted | Taken:
        """Take a lease that is free or has expired, for `ttl` seconds.

        A lease that `owner` itself holds is granted again at once, with the next epoch: a replica that was killed and
        restarted need not wait for itself, and its earlier process is fenced. So the name of an owner must be unique
        among living replicas.
        """
        ...

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Extend a lease to `ttl` seconds from now; return False if it has expired or another owner has it."""
        ...

    async def revive(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        """Renew a lease although it may have expired; return False if another owner, or a later epoch, has had it.

        Whoever did something because the lease had expired, did so rightly: its owner has to find out what.
        """
        ...

    async def release(self, name: str, owner: str, epoch: int) -> None:
        """Release a lease, and notify those that wait for it; do nothing if another owner has it."""
        ...

    async def held(self, prefix: str) -> Sequence[Held]:
        """Return the leases that are held now and whose names begin with `prefix`, in the order of their names."""
        ...

    def watch(self, name: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a lease: the event is set when it may have been released. A notification may be missed.

        A name that ends with `/` watches all leases whose names begin with it, up to their last `/`.
        """
        ...
