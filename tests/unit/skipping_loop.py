"""An event loop whose time is its own: whenever nothing is left to do, the next timer is due."""

import asyncio
import selectors
from typing import Any

from shared.runtime.clock import SystemClock


class _Skipping(selectors.DefaultSelector):
    """Waits for no time to pass: moves the time on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(None if timeout is None else 0)
        if not found and timeout:
            self.now += timeout
        return found


class SkippingLoop(asyncio.SelectorEventLoop):
    """What waits half an hour here has waited exactly that, in no time."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


class LoopClock(SystemClock):
    """The time of the loop that runs."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
