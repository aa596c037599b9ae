"""Waking those who wait for something, by its key."""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Watchers(Generic[Key]):
    """Events by key. An event says: look again; whoever waits clears it before he looks."""

    def __init__(self) -> None:
        self._watching: dict[Key, set[asyncio.Event]] = {}

    @contextmanager
    def watch(self, keys: Iterable[Key]) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever one of the keys is told."""
        event = asyncio.Event()
        keys = tuple(keys)
        for key in keys:
            self._watching.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            for key in keys:
                watching = self._watching[key]
                watching.discard(event)
                if not watching:
                    del self._watching[key]

    def tell(self, keys: Iterable[Key]) -> None:
        """Wake those who watch any of these."""
        for key in keys:
            for event in self._watching.get(key, ()):
                event.set()

    def tell_all(self) -> None:
        """Wake everybody: nobody knows what has happened."""
        for watching in self._watching.values():
            for event in watching:
                event.set()
