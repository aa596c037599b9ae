"""What is kept of idempotency keys, and the guarantees of a store of them.

A key belongs to a *round* of a *writer*. The writer publishes the records of a round in one transaction of the bus,
which also commits the number of the round. So whether a key was published is known from two numbers: that of its round,
and that of the last round that its writer has committed. Rounds of a writer commit in order.

A writer that is closed commits nothing more: its keys are published or void for good. Whoever closes it has fenced it
on the bus before, and has read the last round there.
"""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from services.experience_api.producers.once.keys import Key
from services.experience_api.registry.protocol import Node


class KeyState(Enum):
    """What a claim of a key found."""

    CLAIMED = "claimed"
    """The key is new, or what it was used for is void: it belongs to the round now."""
    PUBLISHED = "published"
    IN_PROGRESS = "in progress"
    """Another round has it, and is not known to be published, or void."""
    ABANDONED = "abandoned"
    """The same, and the replica of its writer is gone."""
    DIFFERENT = "different"
    """It was used for another request."""


class Found(NamedTuple):
    """The state of the keys, as of a sweep."""

    abandoned: list[str]
    """Writers that are not closed, of replicas that are gone."""
    full: bool
    """Whether the limit of keys is reached."""


class KeyStore(Protocol):
    """Keeps keys for all replicas. Times are the database's own."""

    async def open(self, writer: str, node: Node) -> None:
        """Add a writer of a replica. Its name is new."""
        ...

    async def claim(self, writer: str, round_number: int, keys: Sequence[Key], committed: int) -> list[KeyState]:
        """Claim keys for a round, in one atomic step: of concurrent claims of a key, one succeeds.

        Returns the state of each key. The keys differ from each other. `committed` is the last round that the writer
        has committed.

        Raises:
            Fenced: the writer is closed; nothing was claimed.
            Unavailable: the store does not answer; the keys may have been claimed.
        """
        ...

    async def release(self, writer: str, round_number: int, keys: Sequence[Key]) -> None:
        """Forget keys that were claimed for a round that does not publish them. Raises `Unavailable`."""

    async def committed(self, writer: str, round_number: int) -> None:
        """Note the last round that a writer has committed. Raises `Unavailable`."""

    async def close(self, writer: str, committed: int) -> None:
        """Note that a writer commits nothing after this round. Raises `Unavailable`."""

    async def sweep(self, hours: float, limit: int) -> Found:
        """Forget keys that were claimed more than `hours` ago. `limit` is how many keys are permitted.

        Raises `Unavailable`.
        """
        ...
