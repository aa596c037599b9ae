"""Controls and statuses in memory: for unit tests, and for one process on its own."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from services.system_api.operations.requests import Command, Control, Outcome, Request
from services.system_api.operations.store import SharedStatus
from services.system_api.operations.windows import COUNTS, HOUR, Window
from shared.database.watchers import Watchers
from shared.runtime.clock import SYSTEM_CLOCK, Clock

_ALL = "controls"


class MemorySourceStore:
    """A `SourceStore` of one process."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._controls: dict[str, Control] = {}
        self._changing = asyncio.Lock()
        self._statuses: dict[str, SharedStatus] = {}
        self._windows: dict[str, dict[float, Window]] = {}
        self._watchers: Watchers[str] = Watchers()

    @property
    def lasting(self) -> bool:
        """Statuses end with the process."""
        return False

    async def controls(self) -> Mapping[str, Control]:
        """Return what operators ask, by source."""
        return dict(self._controls)

    async def pause(self, source: str, by: str, reason: str) -> Control:
        """Ask that the source be paused."""
        at = self._clock.time()
        return await self._change(source, lambda now: replace(now, paused=True, reason=reason, by=by, at=at))

    async def resume(self, source: str, by: str) -> Control:
        """Ask that the source run."""
        at = self._clock.time()
        return await self._change(source, lambda now: replace(now, paused=False, reason="", by=by, at=at))

    async def poll(self, source: str) -> Control:
        """Ask for a poll now."""
        return await self._change(source, lambda now: replace(now, polls=now.polls + 1))

    async def request(self, source: str, command: Command, place: str | None, by: str) -> Control:
        """Ask for something that is carried out once."""

        def requested(now: Control) -> Control:
            last = 0 if now.request is None else now.request.generation
            at = self._clock.time()
            return replace(now, request=Request(max(last + 1, int(at * 1000)), command, place, by, at))

        return await self._change(source, requested)

    async def settle(self, source: str, outcome: Outcome) -> None:
        """Note what came of a request."""
        await self._change(source, lambda now: now.settled(outcome))

    async def publish(self, statuses: Sequence[SharedStatus]) -> None:
        """Publish statuses."""
        for status in statuses:
            known = self._statuses.get(status.source)
            if known is None or known.epoch <= status.epoch:
                now = self._clock.time()
                self._statuses[status.source] = replace(status, at=now)
                counts = status.status["counts"]
                window = Window(now // HOUR * HOUR, {name: counts[name] for name in COUNTS})
                self._windows.setdefault(status.source, {})[window.began_at] = window

    async def windows(self, source: str, since: float) -> Sequence[Window]:
        """Return the windows since a time, and the last one before it."""
        found = [window for _, window in sorted(self._windows.get(source, {}).items())]
        before = [window for window in found if window.began_at < since][-1:]
        return [*before, *(window for window in found if window.began_at >= since)]

    async def forget_windows(self, before: float) -> None:
        """Forget old windows."""
        for source, windows in self._windows.items():
            self._windows[source] = {at: window for at, window in windows.items() if at >= before}

    async def status(self, source: str) -> SharedStatus | None:
        """Return what was published last of one source."""
        return self._statuses.get(source)

    async def statuses(self) -> Mapping[str, SharedStatus]:
        """Return what was published last, by source."""
        return dict(self._statuses)

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """Watch the controls."""
        return self._watchers.watch([_ALL])

    async def _change(self, source: str, change: Callable[[Control], Control]) -> Control:
        async with self._changing:
            control = change(self._controls.get(source, Control()))
            await self._keep(self._controls | {source: control})
            self._controls[source] = control
        self._watchers.notify([_ALL])
        return control

    async def _keep(self, controls: Mapping[str, Control]) -> None:
        """Keep the controls that are about to be those of the store, where they survive it."""
