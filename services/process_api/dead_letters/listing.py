"""Lists letters by page, and finds single ones."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from services.process_api.dead_letters.decisions import DecisionIndex
from services.process_api.dead_letters.filters import Matcher
from services.process_api.dead_letters.grouping import Groups
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.places import Bounds, Place, Window, windows
from services.process_api.dead_letters.requests import ListRequest
from services.process_api.dead_letters.scanning import letters_of
from services.process_api.dead_letters.views import summary
from services.process_api.worker.turns import Turns
from shared.bus.protocol import Bus
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_WINDOW = 2000
"""Offsets of which the summaries are in memory at once."""
_SECONDS = 5.0
"""Seconds after which a request stops, and says where the next one continues."""


class Page(NamedTuple):
    """Some letters, and where those behind them begin; None where there are none."""

    letters: list[dict[str, Any]]
    at: Place | None


class Lister:
    """Reads letters of one topic."""

    def __init__(self, topic: str, clock: Clock) -> None:
        self._topic = topic
        self._clock = clock

    async def page(
        self, bus: Bus, request: ListRequest, index: DecisionIndex, bounds: Bounds, at: Place | None
    ) -> Page:
        """Return the next letters that a request asks for, from `at` on; fewer than its limit after some seconds.

        Raises:
            Unavailable: the bus does not answer.
        """
        deadline = self._clock.monotonic() + _SECONDS
        found: list[dict[str, Any]] = []
        for number, window in enumerate(windows(bounds, _WINDOW, at, newest_first=request.newest_first)):
            try:
                places, shown = await self._window(bus, request, index, window, deadline)
            except Unavailable:
                if not number:
                    raise
                # A bus that is slow: what was read before is worth an answer.
                edge = window.end if request.newest_first else window.first
                return Page(found, Place(window.partition, edge))
            left = request.limit - len(found)
            found += shown[:left]
            if len(shown) >= left:
                return Page(found, _behind(places[left - 1], newest_first=request.newest_first))
            if self._clock.monotonic() >= deadline:
                edge = window.first if request.newest_first else window.end
                return Page(found, Place(window.partition, edge))
        return Page(found, None)

    async def count(
        self, bus: Bus, request: ListRequest, index: DecisionIndex, bounds: Bounds, at: Place | None
    ) -> tuple[Groups, Place | None]:
        """Count the letters that a request asks for, from `at` on; return where those that are left begin, if any.

        Raises:
            Unavailable: the bus does not answer.
        """
        deadline = self._clock.monotonic() + _SECONDS
        groups = Groups()
        for number, window in enumerate(windows(bounds, _WINDOW, at)):
            found = Groups()  # a window that is read in part is left to the next request
            try:
                async with aclosing(self._matching(bus, request, index, window, deadline)) as letters:
                    async for letter in letters:
                        found.add(letter)
            except Unavailable:
                if not number:
                    raise
                return groups, Place(window.partition, window.first)  # as above
            groups.merge(found)
            if self._clock.monotonic() >= deadline:
                return groups, Place(window.partition, window.end)
        return groups, None

    async def find(self, bus: Bus, place: Place, bounds: Bounds) -> Letter | None:
        """Return one letter; None where there is none, or none any more.

        Raises:
            Unavailable: the bus does not answer.
        """
        first, end = bounds.get(place.partition, (0, 0))
        if not first <= place.offset < end:
            return None
        deadline = self._clock.monotonic() + _SECONDS
        window = Window(place.partition, place.offset, place.offset + 1)
        async with aclosing(letters_of(bus, self._topic, window)) as portions:
            async for letters in portions:
                for letter in letters:
                    return letter
                self._check(bus, deadline)
        return None

    async def _window(
        self, bus: Bus, request: ListRequest, index: DecisionIndex, window: Window, deadline: float
    ) -> tuple[Sequence[Place], Sequence[dict[str, Any]]]:
        places: list[Place] = []
        shown: list[dict[str, Any]] = []
        async with aclosing(self._matching(bus, request, index, window, deadline)) as letters:
            async for letter in letters:
                places.append(letter.place)
                shown.append(summary(letter, index.of(letter.place)))
        return (places[::-1], shown[::-1]) if request.newest_first else (places, shown)

    async def _matching(
        self, bus: Bus, request: ListRequest, index: DecisionIndex, window: Window, deadline: float
    ) -> AsyncGenerator[Letter, None]:
        """Yield the letters of a window that a request asks for, oldest first."""
        matcher, turns = Matcher(request.wanted), Turns(self._clock)
        async with aclosing(letters_of(bus, self._topic, window)) as portions:
            async for letters in portions:
                if not letters:
                    self._check(bus, deadline)
                for letter in letters:
                    wanted = request.status is None or request.status is index.status(letter.place)
                    if wanted and matcher.matches(letter):
                        yield letter
                    await turns.breathe()

    def _check(self, bus: Bus, deadline: float) -> None:
        if self._clock.monotonic() >= deadline:
            raise Unavailable(bus.problem or f"{self._topic} cannot be read now")


def _behind(place: Place, *, newest_first: bool) -> Place:
    return place if newest_first else place._replace(offset=place.offset + 1)
