"""Replays and drops letters, exactly once on whichever replica.

One writer decides on the letters of a partition. Opening it fences the writer of another replica; after that, all
decisions so far are read, and only then is anything decided. An event and the decision on its letter are one
transaction. So no crash, and no second replica, replays a letter twice.
"""

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import aclosing

from services.process_api.dead_letters.decisions import DecisionIndex
from services.process_api.dead_letters.operation import Batch, Operation
from services.process_api.dead_letters.places import Bounds, Place, Window, windows, windows_of
from services.process_api.dead_letters.scanning import DecisionLog, letters_of
from services.process_api.worker.turns import Turns
from shared.bus.protocol import Bus, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.errors import Fenced, TooLarge, Unavailable
from shared.runtime import failpoints
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_WINDOW = 50_000
"""Offsets that one reader scans."""
_SECONDS = 5.0
"""Seconds after which a request stops, and says where the next one continues."""
_PAUSE = 0.3
"""Seconds to wait at least after another replica has taken over; so both get on in turns."""

_EXPIRIES = 20
"""How often a request deletes a thousand decisions at most in one partition."""

Decided = Callable[[int], None]
"""Called with how many letters were decided on in a transaction that is committed."""


class Decider:
    """Carries out operations."""

    def __init__(self, topics: TopicsOptions, log: DecisionLog, clock: Clock, rng: random.Random) -> None:
        self._topics = topics
        self._log = log
        self._clock = clock
        self._rng = rng
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        """By partition: two operations of this replica would fence one another."""

    async def run(self, bus: Bus, operation: Operation, bounds: Bounds, decided: Decided) -> bool:
        """Decide on the letters within these bounds from `operation.at` on; return whether that is all of them.

        Raises:
            Fenced: another replica decides as well, again and again, and nothing was done here.
            Unavailable: the bus does not answer, and nothing was done here.
        """
        deadline = self._clock.monotonic() + _SECONDS
        for number in sorted(bounds):
            if operation.at is not None and operation.at.partition > number:
                continue
            one = {number: bounds[number]}
            if operation.request.dry_run:
                index = await self._log.refresh(bus)
                done = await self._scan(bus, operation, one, index, deadline, None)
            else:
                async with self._locks[number]:
                    done = await self._persist(bus, operation, one, deadline, decided)
            if not done:
                return False
            operation.at = Place(number + 1, 0)
        return True

    async def settle(self, bus: Bus) -> None:
        """End what a killed replica had in flight, by opening its writer. What is done here goes on undisturbed.

        Raises:
            Fenced, Unavailable: as for `Bus.writer`.
        """
        for number in await bus.bounds(self._topics.dead_letter):
            if not self._locks[number].locked():
                async with self._locks[number], bus.writer(_writer_of(number)):
                    pass

    async def _persist(self, bus: Bus, operation: Operation, bounds: Bounds, deadline: float, decided: Decided) -> bool:
        """Decide on the letters of one partition; after an error, with a new writer from where it is known to be."""
        (number,) = bounds
        before = operation.at
        for attempt in range(1, 1_000_000):
            try:
                async with bus.writer(_writer_of(number)) as writer:
                    index = await self._expire(bus, writer, operation, bounds)
                    return await self._scan(bus, operation, bounds, index, deadline, _Commits(writer, decided))
            except TooLarge:
                continue
            except (Fenced, Unavailable):
                if self._clock.monotonic() < deadline:
                    await self._clock.sleep(_PAUSE * min(attempt, 5) * (1 + self._rng.random()))
                elif operation.at == before:
                    raise
                else:
                    return False
        raise AssertionError("the deadline has ended this before")

    async def _scan(
        self,
        bus: Bus,
        operation: Operation,
        bounds: Bounds,
        index: DecisionIndex,
        deadline: float,
        commits: "_Commits | None",
    ) -> bool:
        turns = Turns(self._clock)
        for window in self._windows(operation, bounds):
            async with aclosing(letters_of(bus, self._topics.dead_letter, window)) as portions:
                async for letters in portions:
                    batch = Batch(operation, index)
                    for letter in letters:
                        if batch.full:
                            await self._commit(operation, batch, commits)
                            batch = Batch(operation, index)
                        batch.add(letter)
                        await turns.breathe()
                    await self._commit(operation, batch, commits)
                    if self._clock.monotonic() >= deadline:
                        if not letters and not operation.advanced:
                            raise Unavailable(bus.problem or f"{self._topics.dead_letter} cannot be read now")
                        return False
        return True

    def _windows(self, operation: Operation, bounds: Bounds) -> Iterable[Window]:
        if operation.request.ids is not None:
            return windows_of(operation.request.ids, bounds, operation.at)
        return windows(bounds, _WINDOW, operation.at)

    async def _commit(self, operation: Operation, batch: Batch, commits: "_Commits | None") -> None:
        if commits is not None:
            try:
                await commits.commit(batch.transaction, batch.tally.decided)
            except TooLarge:
                operation.note_too_large(batch)
                raise
        operation.advance(batch)

    async def _expire(self, bus: Bus, writer: Writer, operation: Operation, bounds: Bounds) -> DecisionIndex:
        """Return the decisions, without those on letters that retention has deleted: as many as one request makes."""
        earliest = [Place(number, first) for number, (first, _) in bounds.items()]
        index = await self._decisions(bus, operation)
        for _ in range(_EXPIRIES):
            if not (expired := index.expired(earliest)):
                break
            await writer.commit(Transaction({self._topics.decisions: expired}))
            index = await self._decisions(bus, operation)
        return index

    async def _decisions(self, bus: Bus, operation: Operation) -> DecisionIndex:
        index = await self._log.refresh(bus)
        if index.epoch != operation.epoch:
            # The places and bounds of the request are those of another topic, and so would be its decisions.
            raise Unavailable(f"{self._topics.dead_letter} was created anew meanwhile")
        return index


def _writer_of(partition: int) -> str:
    return f"dead-letters.{partition}"


class _Commits:
    """Commits the transactions of one writer."""

    def __init__(self, writer: Writer, decided: Decided) -> None:
        self._writer = writer
        self._decided = decided

    async def commit(self, transaction: Transaction, count: int) -> None:
        if transaction.empty:
            return
        failpoints.reach("dead-letters.before-commit")
        await self._writer.commit(transaction)
        failpoints.reach("dead-letters.after-commit")
        self._decided(count)
