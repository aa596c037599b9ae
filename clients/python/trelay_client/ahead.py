"""Reads a subscription ahead of its program, so that what it waits for is answered while it is busy."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import ExitStack, aclosing, suppress

from trelay_client.attaching import Attached
from trelay_client.state import Frame
from trelay_client.tasks import ended, started

_ENDED = "the subscription has ended"
_BUFFERED = 100
"""Frames that are read ahead at any time."""
_BUFFERED_SIZE = 64 * 1024 * 1024
"""Characters of frames that are read ahead while the program may wait for an answer, which comes behind them."""


async def read_ahead(frames: AsyncGenerator[Frame, None], parts: Sequence[Attached]) -> AsyncGenerator[Frame, None]:
    """Yield `frames`, which are read in a task of their own until this generator is closed.

    The program may wait for an answer to one of `parts`, such as its messages, which belong to it meanwhile.

    Raises:
        UsageError: another subscription uses a part; and whatever `frames` raises.
    """
    ahead = _Ahead(frames, parts)
    with ExitStack() as stack:
        for part in parts:
            part.attach(ahead.wake_from_any_thread)
            stack.callback(part.detach, _ENDED)
        task = started("trelay read ahead", ahead.read())
        try:
            while (frame := await ahead.take()) is not None:
                yield frame
            await task  # raises what ended the subscription
        finally:
            await ended(task)


class _Ahead:
    """The frames between the task that reads and the program that takes."""

    def __init__(self, frames: AsyncGenerator[Frame, None], parts: Sequence[Attached]) -> None:
        self._frames = frames
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._buffered: deque[Frame] = deque()
        self._size = 0
        self._ended = False
        self._arrived = asyncio.Event()
        self._wake = asyncio.Event()

    async def take(self) -> Frame | None:
        """Wait for the next frame; return None at the end."""
        while not self._buffered and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        if not self._buffered:
            return None
        frame = self._buffered.popleft()
        self._size -= len(frame.text)
        self._wake.set()
        return frame

    async def read(self) -> None:
        reason = _ENDED
        try:
            async with aclosing(self._frames) as frames:
                async for frame in frames:
                    self._buffered.append(frame)
                    self._size += len(frame.text)
                    self._arrived.set()
                    while not self._has_room():
                        self._wake.clear()
                        await self._wake.wait()
        except Exception as exc:
            reason = f"{reason}: {exc}"
            raise
        finally:
            for part in self._parts:
                part.end(reason)
            self._ended = True
            self._arrived.set()

    def wake_from_any_thread(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._wake.set)

    def _has_room(self) -> bool:
        if len(self._buffered) < _BUFFERED:
            return True
        return self._size < _BUFFERED_SIZE and any(part.waiting for part in self._parts)
