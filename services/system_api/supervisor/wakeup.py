"""A wait that an operator can end early."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress


class Wakeup:
    """The waits of one source, one at a time: between two polls, and between two attempts."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None
        self._asked = False

    def set(self) -> None:
        """End the wait in progress, or else the next one at once."""
        if self._timeout is None:
            self._asked = True
        elif not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time())

    async def wait(self, work: Callable[[], Awaitable[None]], seconds: float | None = None) -> None:
        """Run `work` until it ends, for at most `seconds`, or until it is woken up."""
        if self._asked:
            self._asked = False
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds) as timeout:
                self._timeout = timeout
                try:
                    await work()
                finally:
                    self._timeout = None
