"""One life of a source: from the checkpoint that was committed last to the first failure, or for ever.

    writer      opening it fences an older owner, so that what is read next is the last word
    checkpoint
    source      opened there
    poll → publish with checkpoint → settle → wait, and again

Whatever fails ends the life; the poller begins another. An upstream that does not answer is no failure: it is tried
by the source's policy, and probed for ever after that.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

from services.system_api.oversize import Oversize
from services.system_api.publishing import Publisher, Settle, bus_errors, checkpoint_part
from services.system_api.reporting import Reporter
from services.system_api.schedule import Schedule
from services.system_api.source import Batch, Checkpoint, Opening, Settling, Source, SourceOptions
from services.system_api.watch import Activity, Watch
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.clock import Clock
from shared.errors import TooLarge, TrelayError, Unavailable
from shared.retry import retrying

T = TypeVar("T")

_DRAIN = 2.0
"""Seconds a stop waits for what is being committed, so that less is read twice."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sources of a replica share."""

    bus: Bus
    topics: TopicsOptions
    clock: Clock
    dice: random.Random


class Life:
    """Drives one source until something fails."""

    def __init__(
        self,
        options: SourceOptions,
        opening: Opening,
        surroundings: Surroundings,
        reporter: Reporter,
        watch: Watch,
        oversize: Oversize,
    ) -> None:
        """`watch` and `oversize` outlive this life: one is asked by others, the other is learned from failures."""
        self._name = reporter.condition.name
        self._options = options
        self._opening = opening
        self._around = surroundings
        self._clock = surroundings.clock
        self._report = reporter
        self._watch = watch
        self._oversize = oversize
        self._schedule = Schedule(options.interval, options.retry)
        self._last = Batch()
        """What was handed to the bus last."""

    async def run(self) -> None:
        """Drive the source; never returns.

        Raises:
            BusAway: the bus does not answer.
            Fenced: a newer owner drives this source.
            TooLarge: the bus refuses a record, and the next life will find out which.
            Exception: anything else is a bug of the source or settings that cannot work.
        """
        topics = self._around.topics
        destination = topics.ingest if self._options.channel is None else topics.publish
        async with AsyncExitStack() as stack:
            self._begin(Activity.CONNECTING)
            with bus_errors():
                writer = await stack.enter_async_context(self._around.bus.writer(f"system.{self._name}"))
                checkpoint = await self._checkpoint()
            self._report.opening()
            source = await self._insist(Activity.OPENING, lambda: stack.enter_async_context(self._opening(checkpoint)))
            publisher = Publisher(self._name, destination, topics, writer, self._settling(source), self._clock)
            try:
                await self._read(source, publisher)
            except TooLarge:
                self._oversize.refuse(self._last, publisher.under_way)
                raise
            except asyncio.CancelledError:
                with contextlib.suppress(TrelayError, TimeoutError):
                    async with asyncio.timeout(_DRAIN):
                        await publisher.drain()
                raise

    async def _checkpoint(self) -> Checkpoint:
        saved = await self._around.bus.latest(self._around.topics.checkpoints, self._name.encode())
        return {checkpoint_part(self._name, key): value for key, value in saved.items()}

    async def _read(self, source: Source, publisher: Publisher) -> None:
        while True:
            began = self._clock.monotonic()
            batch = await self._insist(Activity.POLLING, lambda: self._poll(source, publisher))
            self._report.polled(batch, self._clock.monotonic() - began)
            await self._publish(publisher, batch)
            self._report.progressed(caught_up=not batch.more)
            if batch.more:
                await asyncio.sleep(0)  # neither poll nor publishing need have waited, and others want their turn
            else:
                await self._wait(source, self._clock.monotonic() - began)

    async def _poll(self, source: Source, publisher: Publisher) -> Batch:
        try:
            return await source.poll(1 if self._oversize.searching else self._options.batch)
        except Unavailable:
            # What was read before is safe soon, however long the upstream stays away.
            await publisher.drain()
            raise

    async def _publish(self, publisher: Publisher, batch: Batch) -> None:
        self._begin(Activity.PUBLISHING)
        self._last = self._oversize.strain(batch)
        if self._last:
            await publisher.submit(self._last)
        if not batch.more or self._oversize.searching:
            await publisher.drain()
        self._watch.rest()

    def _settling(self, source: Source) -> Settle:
        settling = source if isinstance(source, Settling) else None

        async def settle(batch: Batch, took: float) -> None:
            self._oversize.passed()
            self._report.committed(batch, took)
            if settling is None:
                return
            self._begin(Activity.SETTLING)
            try:
                await settling.settle(batch)
            except Unavailable as exc:
                self._report.unsettled(str(exc))
            self._begin(Activity.PUBLISHING)

        return settle

    async def _wait(self, source: Source, took: float) -> None:
        """Wait for the interval, or for a change."""
        delay = self._schedule.next_poll(took, self._around.dice.random())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await source.changed()

    async def _insist(self, activity: Activity, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try by the policy; when it is spent, say so once, and probe for ever."""

        async def watched() -> T:
            self._begin(activity)
            try:
                return await attempt()
            finally:
                self._watch.rest()

        try:
            return await watched()
        except Unavailable as exc:
            failures = [exc]

        async def again() -> T:
            if failures:
                raise failures.pop()  # the first attempt was made without the policy's machinery: it costs 0.2 ms
            return await watched()

        policy = retrying(
            self._options.retry,
            on_retry=lambda state: self._report.retrying(str(state.outcome and state.outcome.exception())),
            clock=self._clock,
            dice=self._around.dice,
        )
        try:
            return await policy(again)
        except Unavailable as exc:
            self._report.down(str(exc))
        while True:
            await self._clock.sleep(self._schedule.next_probe(self._around.dice.random()))
            try:
                return await watched()
            except Unavailable as exc:
                self._report.down(str(exc))

    def _begin(self, activity: Activity) -> None:
        self._watch.begin(activity, self._clock.monotonic())
