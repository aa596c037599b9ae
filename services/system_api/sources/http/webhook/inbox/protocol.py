"""The inbox that all replicas share. `tests/contracts/inbox/` has a test for each guarantee below."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Fill, Limits, Outcome, Waiting


class Inbox(Protocol):
    """Deliveries by source, until they are published; and their ids, for longer.

    All methods raise `Unavailable` if the inbox does not answer; it is not known then whether the change took place.
    """

    async def store(self, source: str, deliveries: Sequence[Delivery], limits: Limits) -> list[Outcome]:
        """Store what is new, in this order; return what came of each once that is durable.

        The positions of one source have no gaps, and become visible in order, whichever replicas store at once. Of
        several deliveries with one id, at the same time too, one is stored.
        """
        ...

    async def read(self, source: str, after: int, limit: int, max_bytes: int) -> Sequence[Waiting]:
        """Return what waits behind a position, in order: at most `limit`, and about `max_bytes`, but at least one."""
        ...

    async def remove(self, source: str, upto: int) -> None:
        """Remove what waits up to a position, which is published. The ids stay."""
        ...

    async def fill(self, source: str) -> Fill:
        """Return how much is in the inbox of a source; it is made by the first use."""
        ...

    async def forget(self, source: str, window: float, limit: int) -> int:
        """Forget ids that are older than `window` seconds, and the oldest of more than `limit`.

        Returns how many were forgotten that were not older.
        """
        ...

    def watch(self, source: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a source: the event is set when something may have been stored. A notification may be missed."""
        ...
