"""Subscribes from a program without asyncio: the connection runs in a thread of its own."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import aclosing, contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from trelay_client.credentials import ClientCredentials, Token
from trelay_client.resuming import ResumeStore, exclusive
from trelay_client.state import Frame, is_shown
from trelay_client.stream import Subscribed, subscribe

_BUFFERED = 100
"""Frames that are read ahead: the connection answers pings while the program is busy with an event."""
_JOIN = 5.0


def events(
    url: str,
    credentials: ClientCredentials | Token,
    channels: Subscribed = (),
    cursor: str | None = None,
    *,
    store: ResumeStore | None = None,
    **options: Any,
) -> Generator[Frame, None, None]:
    """Yield what `subscribe` yields. With a `store`, resume from its cursor and keep it, as `resume` does.

    `cursor` is where a store begins that has none yet.

    `options` are those of `subscribe`; its callbacks are called in the thread of the connection. Close the generator to
    disconnect: a `for` loop does when it ends.

    Raises:
        Stopped, UsageError: as `subscribe`; whatever the store raises, such as that another subscription uses it.
    """
    with exclusive(store):
        yield from _resumed(url, credentials, channels, cursor, store, options)


def _resumed(
    url: str,
    credentials: ClientCredentials | Token,
    channels: Subscribed,
    cursor: str | None,
    store: ResumeStore | None,
    options: dict[str, Any],
) -> Generator[Frame, None, None]:
    shown = options.get("heartbeats", False)
    if store is not None:
        cursor = store.load() or cursor
    reading = _Reading()
    options = {**options, "heartbeats": True}
    with reading.connected(url, credentials, channels, cursor, options):
        while (found := reading.take()) is not None:
            if is_shown(found, heartbeats=shown):
                yield found
            if store is not None and found.cursor is not None:
                store.save(found.cursor)


class _Reading:
    """The thread of one subscription."""

    def __init__(self) -> None:
        self._found: SimpleQueue[Frame | BaseException | None] = SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._room = asyncio.Semaphore(_BUFFERED)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    @contextmanager
    def connected(self, *arguments: Any) -> Generator[None, None, None]:
        """Read for as long as the context lasts."""
        thread = threading.Thread(target=self._run, args=arguments, name="trelay subscription", daemon=True)
        thread.start()
        try:
            yield
        finally:
            if thread.is_alive():
                with suppress(RuntimeError):  # the loop was closed meanwhile
                    self._loop.call_soon_threadsafe(self._stop)
            thread.join(_JOIN)

    def take(self) -> Frame | None:
        """Wait for the next frame; return None at the end, or raise what ended the subscription."""
        found = self._found.get()
        if isinstance(found, BaseException):
            raise found
        if found is not None:
            with suppress(RuntimeError):  # the loop is closed, and what is left was read before
                self._loop.call_soon_threadsafe(self._room.release)
        return found

    def _stop(self) -> None:
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def _run(self, *arguments: Any) -> None:
        end: BaseException | None = None
        try:
            self._loop.run_until_complete(self._read(*arguments))
        except asyncio.CancelledError:
            pass  # the program has closed the generator
        except BaseException as exc:  # noqa: BLE001 -- raised in the thread of the program
            end = exc
        finally:
            self._loop.close()
            self._found.put(end)

    async def _read(
        self,
        url: str,
        credentials: ClientCredentials | Token,
        channels: Subscribed,
        cursor: str | None,
        options: dict[str, Any],
    ) -> None:
        self._task = asyncio.current_task()
        if self._stopped:
            return
        async with aclosing(subscribe(url, credentials, channels, cursor, **options)) as frames:
            async for frame in frames:
                await self._room.acquire()
                self._found.put(frame)
