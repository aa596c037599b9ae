"""Events by key, for what may change at any time."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Watchers(Generic[Key]):
    """Events by key. An event means: check again; a waiter clears it before it checks."""

    def __init__(self) -> None:
        self._events: dict[Key, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, keys: Iterable[Key]) -> Iterator[asyncio.Event]:
        """Provide an event that is set whenever one of the keys is notified."""
        event = asyncio.Event()
        keys = tuple(keys)
        for key in keys:
            self._events.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            for key in keys:
                events = self._events[key]
                events.discard(event)
                if not events:
                    del self._events[key]

    def notify(self, keys: Iterable[Key]) -> None:
        """Set the events of these keys."""
        for key in keys:
            for event in self._events.get(key, ()):
                event.set()

    def notify_all(self) -> None:
        """Set all events: it is not known what has changed."""
        for events in self._events.values():
            for event in events:
                event.set()
