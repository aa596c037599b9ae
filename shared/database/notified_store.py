"""A store on PostgreSQL that notifies all replicas of its changes."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import ClassVar, Self

from shared.database.listener import Listener
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.database.watchers import Watchers


class NotifiedStore:
    """What such stores share: a pool of connections, and watchers that a channel of notifications wakes."""

    CHANNEL: ClassVar[str]
    """The channel of its notifications."""
    CONNECTIONS: ClassVar[int]
    """The size of its pool."""
    PURPOSE: ClassVar[str]
    """What its connections are for, as the server shows them."""

    def __init__(self, pool: ConnectionPool) -> None:
        """The caller must pass notifications of `CHANNEL` to `on_notification`, as `opened` does."""
        self._pool = pool
        self._watchers: Watchers[str] = Watchers()

    @classmethod
    @asynccontextmanager
    async def opened(cls, options: DatabaseOptions) -> AsyncIterator[Self]:
        """Open a store with a pool of its own, so that no other work delays it. It connects at its first use."""
        async with ConnectionPool.opened(options, size=cls.CONNECTIONS, purpose=cls.PURPOSE) as pool:
            store = cls(pool)
            async with Listener.opened(options, {cls.CHANNEL: store.on_notification}):
                yield store

    def on_notification(self, payload: str | None) -> None:
        """Handle a notification of `CHANNEL`; None: any number of them may have been missed."""
        if payload is None:
            self._watchers.notify_all()
        else:
            self._watchers.notify(self._keys_of(payload))

    def _keys_of(self, payload: str) -> Iterable[str]:
        """Return the keys of the watchers that a notification concerns."""
        return (payload,)
