"""What operators ask of the sources, as this replica knows it: kept up to date from the store."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from services.system_api.operations.requests import Control, Outcome
from services.system_api.operations.store import SourceStore
from shared.errors import Unavailable

logger = logging.getLogger(__name__)

_INTERVAL = 2.0
"""Seconds between two looks at the store: a notification may be missed."""
_RETRY_INTERVAL = 0.5


class Demand(NamedTuple):
    """What decides whether a source runs, and with which request."""

    paused: bool
    generation: int
    """Of the request that is still to be carried out; 0 if there is none."""

    def met_by(self, now: "Demand") -> bool:
        """Return whether a run that began with this demand may go on: at most its own request is carried out since."""
        return now.paused == self.paused and now.generation in {0, self.generation}


class SourceControl:
    """What operators ask of one source."""

    def __init__(self, source: str, store: SourceStore) -> None:
        self._source = source
        self._store = store
        self._known: Control | None = None
        self._unsaved: Outcome | None = None
        self._changed = asyncio.Event()

    @property
    def current(self) -> Control:
        """What is known; nothing is asked before the first look at the store."""
        return Control() if self._known is None else self._known

    @property
    def demand(self) -> Demand:
        """What a run of the source depends on."""
        pending = self.current.pending
        return Demand(self.current.paused, 0 if pending is None else pending.generation)

    def update(self, control: Control) -> None:
        """Take what the store has."""
        if self._unsaved is not None:
            control = control.settled(self._unsaved)
        if control != self._known:
            self._known = control
            self._changed.set()
            self._changed = asyncio.Event()

    async def known(self) -> None:
        """Wait for the first look at the store."""
        while self._known is None:
            await self._changed.wait()

    async def changed_from(self, control: Control) -> None:
        """Return when something else is asked than `control`."""
        while self.current == control:
            await self._changed.wait()

    async def last_status(self) -> Mapping[str, Any] | None:
        """Return the status that the last owner published, None if there is none. Raises `Unavailable`."""
        shared = await self._store.status(self._source)
        return None if shared is None else shared.status

    async def settle(self, outcome: Outcome) -> None:
        """Note what came of a request, here and in the store.

        Raises:
            Unavailable: the store does not answer; `save` repeats it.
        """
        self._unsaved = outcome
        self.update(self.current)
        await self.save()

    async def save(self) -> None:
        """Note in the store what it does not have yet. Raises `Unavailable`."""
        outcome = self._unsaved
        if outcome is not None:
            await self._store.settle(self._source, outcome)
            if self._unsaved is outcome:
                self._unsaved = None


class Controls:
    """The controls of all sources of this replica."""

    def __init__(self, store: SourceStore, sources: Iterable[str]) -> None:
        self._store = store
        self._of = {source: SourceControl(source, store) for source in sources}

    def __contains__(self, source: object) -> bool:
        """Whether there is a source of this name."""
        return source in self._of

    def of(self, source: str) -> SourceControl:
        """Return the control of a source."""
        return self._of[source]

    async def refresh(self) -> None:
        """Look at the store now. Raises `Unavailable`."""
        for control in self._of.values():
            await control.save()
        found = await self._store.controls()
        for source, known in self._of.items():
            known.update(found.get(source, Control()))

    async def follow(self) -> None:
        """Keep up with the store until cancelled. While it does not answer, what was asked last holds."""
        with self._store.watch() as changed:
            while True:
                changed.clear()
                pause = _INTERVAL
                try:
                    await self.refresh()
                except Unavailable as exc:
                    logger.debug("could not read source controls", extra={"component": "source", "error": str(exc)})
                    pause = _RETRY_INTERVAL
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()
