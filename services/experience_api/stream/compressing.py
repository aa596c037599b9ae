"""Compresses large frames in threads, so that neither the event loop nor a smaller event waits for one."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from services.experience_api.wire.deflate import Deflater, Key


class Compressing:
    """The compressions that are in progress. Several connections may wait for the same one."""

    def __init__(self, deflater: Deflater) -> None:
        self._deflater = deflater
        self._running: dict[Key, asyncio.Future[bytes]] = {}

    def join(self, frames: Sequence[bytes], window: int, *, keep: bool = True) -> bytes:
        """Return frames in the form of a connection with a window, as one; see `Deflater.join`."""
        return self._deflater.join(frames, window, keep=keep)

    async def prepare(self, frames: Sequence[bytes], windows: Iterable[int]) -> bool:
        """Compress the large ones of some frames; return whether there was any, which took time.

        The deflater joins them in their compressed form afterwards.
        """
        missing = list(self._deflater.large(frames, windows))
        for key in missing:
            await asyncio.shield(self._compression(key))
        return bool(missing)

    def _compression(self, key: Key) -> asyncio.Future[bytes]:
        running = self._running.get(key)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(None, self._deflater.compressed, key)
            running.add_done_callback(partial(self._keep, key))
            self._running[key] = running
        return running

    def _keep(self, key: Key, done: asyncio.Future[bytes]) -> None:
        del self._running[key]
        if not done.cancelled() and done.exception() is None:
            self._deflater.keep(key, done.result())
