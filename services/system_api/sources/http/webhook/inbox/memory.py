"""The inbox in memory, for unit tests: all its promises but to outlive the process."""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Fill, Limits, Outcome, Waiting, plan
from shared.database.watchers import Watchers
from shared.errors import Unavailable
from shared.runtime.clock import Clock

_epochs = itertools.count(1)


@dataclass(slots=True)
class _Box:
    epoch: str = field(default_factory=lambda: f"memory-{next(_epochs)}")
    position: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)
    ids: dict[bytes, float] = field(default_factory=dict)

    def fill(self) -> Fill:
        size = sum(len(each.delivery.body) for each in self.waiting)
        return Fill(self.epoch, self.position, len(self.waiting), size, len(self.ids))


class MemoryInbox:
    """An `Inbox` of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._boxes: dict[str, _Box] = {}
        self._watchers: Watchers[str] = Watchers()
        self.problem: str | None = None
        """Why the inbox does not answer; a test sets it."""

    async def store(self, source: str, deliveries: Sequence[Delivery], limits: Limits) -> list[Outcome]:
        """Store what is new."""
        box = self._box(source)
        outcomes = plan(deliveries, box.ids.keys(), box.fill(), limits)
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            if outcome is Outcome.STORED:
                now = self._clock.time()
                box.position += 1
                box.waiting.append(Waiting(box.position, now, delivery))
                if delivery.digest is not None:
                    box.ids[delivery.digest] = now
        self._watchers.notify([source])
        return outcomes

    async def read(self, source: str, after: int, limit: int, max_bytes: int) -> Sequence[Waiting]:
        """Return what waits."""
        found: list[Waiting] = []
        size = 0
        for each in self._box(source).waiting:
            if each.position <= after:
                continue
            if len(found) >= limit or (found and size >= max_bytes):
                break
            found.append(each)
            size += len(each.delivery.body)
        return found

    async def remove(self, source: str, upto: int) -> None:
        """Remove what is published."""
        waiting = self._box(source).waiting
        while waiting and waiting[0].position <= upto:
            waiting.popleft()

    async def fill(self, source: str) -> Fill:
        """Return how much is in the inbox."""
        return self._box(source).fill()

    async def forget(self, source: str, window: float, limit: int) -> int:
        """Forget ids."""
        ids, now = self._box(source).ids, self._clock.time()
        for digest in [digest for digest, at in ids.items() if at < now - window]:
            del ids[digest]
        early = max(0, len(ids) - limit)
        for digest in list(ids)[:early]:
            del ids[digest]
        return early

    def watch(self, source: str) -> AbstractContextManager[asyncio.Event]:
        """Watch a source."""
        return self._watchers.watch([source])

    def _box(self, source: str) -> _Box:
        if self.problem is not None:
            raise Unavailable(self.problem)
        return self._boxes.setdefault(source, _Box())
