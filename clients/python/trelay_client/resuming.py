"""Subscribes with a cursor that outlives the program."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from trelay_client.connection import ClientCredentials
from trelay_client.state import Frame
from trelay_client.stream import Token, subscribe


class ResumeStore(Protocol):
    """Keeps one cursor, such as a `CursorFile`, or a row beside what the program stores of the events."""

    def load(self) -> str | None:
        """Return the cursor; None if there is none yet. May block."""
        ...

    def save(self, cursor: str) -> None:
        """Replace the cursor. May block."""
        ...


async def resume(
    url: str, credentials: ClientCredentials | Token, store: ResumeStore, channels: Sequence[str] = (), **options: Any
) -> AsyncGenerator[Frame, None]:
    """Yield what `subscribe` yields, from the stored cursor on.

    The cursor of an event is stored when the next one is asked for. So an event that the program was busy with when it
    ended comes again, and none is lost. `options` are those of `subscribe`.

    Raises:
        Stopped, UsageError: as `subscribe`; whatever the store raises.
    """
    cursor = await asyncio.to_thread(store.load)
    async with aclosing(subscribe(url, credentials, channels, cursor, **options)) as frames:
        async for frame in frames:
            yield frame
            if frame.cursor is not None:
                await asyncio.to_thread(store.save, frame.cursor)
