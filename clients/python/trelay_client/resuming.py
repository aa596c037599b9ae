"""Subscribes with a cursor that outlives the program."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, Protocol, runtime_checkable

from trelay_client.credentials import ClientCredentials, Token
from trelay_client.state import Frame, is_shown
from trelay_client.stream import Subscribed, subscribe
from trelay_client.tasks import started


class ResumeStore(Protocol):
    """Keeps one cursor, such as a `CursorFile`, or a row beside what the program stores of the events."""

    def load(self) -> str | None:
        """Return the cursor; None if there is none yet. May block."""
        ...

    def save(self, cursor: str) -> None:
        """Replace the cursor. May block."""
        ...


@runtime_checkable
class ExclusiveStore(Protocol):
    """A store that one subscription may use at a time, such as a `CursorFile`. Both methods may block."""

    def acquire(self) -> None:
        """Keep other subscriptions from using the store; raise if one does."""
        ...

    def release(self) -> None:
        """Let another subscription use the store."""
        ...


@contextmanager
def exclusive(store: ResumeStore | None) -> Iterator[None]:
    """Acquire a store, if it is one for a single subscription, while the context is open."""
    if not isinstance(store, ExclusiveStore):
        yield
        return
    store.acquire()
    try:
        yield
    finally:
        store.release()


@asynccontextmanager
async def _exclusive(store: ResumeStore) -> AsyncIterator[None]:
    holding = exclusive(store)
    entering = started("trelay store", asyncio.to_thread(holding.__enter__))
    try:
        await asyncio.shield(entering)
        yield
    finally:
        await asyncio.wait([entering])  # a thread goes on when its task is cancelled
        if entering.exception() is None:
            await asyncio.to_thread(holding.__exit__, None, None, None)


async def resume(
    url: str, credentials: ClientCredentials | Token, store: ResumeStore, channels: Subscribed = (), **options: Any
) -> AsyncGenerator[Frame, None]:
    """Yield what `subscribe` yields, from the stored cursor on.

    The cursor of an event is stored when the next one is asked for. So an event that the program was busy with when it
    ended comes again, and none is lost. `options` are those of `subscribe`.

    Raises:
        Stopped, UsageError: as `subscribe`; whatever the store raises, such as that another subscription uses it.
    """
    shown = options.pop("heartbeats", False)
    async with _exclusive(store):
        cursor = await asyncio.to_thread(store.load)
        async with aclosing(subscribe(url, credentials, channels, cursor, heartbeats=True, **options)) as frames:
            async for frame in frames:
                if is_shown(frame, heartbeats=shown):
                    yield frame
                if frame.cursor is not None:
                    await asyncio.to_thread(store.save, frame.cursor)
