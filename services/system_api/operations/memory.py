"""Controls and statuses in memory: for unit tests, and for one process on its own."""

import asyncio
from collections.abc import Mapping, Sequence
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
        self._statuses: dict[str, SharedStatus] = {}
        self._windows: dict[str, dict[float, Window]] = {}
        self._watchers: Watchers[str] = Watchers()

    async def controls(self) -> Mapping[str, Control]:
        """Return what operators ask, by source."""
        return dict(self._controls)

    async def pause(self, source: str, by: str, reason: str) -> Control:
        """Ask that the source be paused."""
        return self._set(source, replace(self._of(source), paused=True, reason=reason, by=by, at=self._clock.time()))

    async def resume(self, source: str, by: str) -> Control:
        """Ask that the source run."""
        return self._set(source, replace(self._of(source), paused=False, reason="", by=by, at=self._clock.time()))

    async def poll(self, source: str) -> Control:
        """Ask for a poll now."""
        control = self._of(source)
        return self._set(source, replace(control, polls=control.polls + 1))

    async def request(self, source: str, command: Command, place: str | None, by: str) -> Control:
        """Ask for something that is carried out once."""
        control = self._of(source)
        last = 0 if control.request is None else control.request.generation
        request = Request(last + 1, command, place, by, self._clock.time())
        return self._set(source, replace(control, request=request))

    async def settle(self, source: str, outcome: Outcome) -> None:
        """Note what came of a request."""
        self._set(source, self._of(source).settled(outcome))

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

    async def statuses(self) -> Mapping[str, SharedStatus]:
        """Return what was published last, by source."""
        return dict(self._statuses)

    def watch(self) -> AbstractContextManager[asyncio.Event]:
        """Watch the controls."""
        return self._watchers.watch([_ALL])

    def _of(self, source: str) -> Control:
        return self._controls.get(source, Control())

    def _set(self, source: str, control: Control) -> Control:
        self._controls[source] = control
        self._watchers.notify([_ALL])
        return control
