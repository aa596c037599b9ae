"""One run of a source: from the checkpoint that was committed last until the first failure.

    writer      opening it fences an older owner, so the checkpoint that is read next is final
    checkpoint
    request     of an operator to rewind the source, if there is one
    source      opened at the checkpoint
    poll → publish with checkpoint → settle → wait, and again

A failure ends the run; the poller starts another one. An unavailable upstream does not end it: the attempt is repeated
by the source's retry policy, and at `probe_interval` once the policy is exhausted.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from services.system_api.operations.checkpoints import OwnPart, checkpoint_part, split
from services.system_api.operations.controls import SourceControl
from services.system_api.operations.rewinding import checkpoint_at
from services.system_api.sources.capabilities import Place, Snapshotting
from services.system_api.sources.source import Batch, Checkpoint, Settling, Source, SourceOpener, SourceOptions
from services.system_api.supervisor.operator_requests import OperatorRequests, Saved
from services.system_api.supervisor.oversize import OversizeFilter
from services.system_api.supervisor.publisher import Publisher, Settle, bus_errors, checked
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.schedule import Schedule
from services.system_api.supervisor.wakeup import Wakeup
from services.system_api.supervisor.watchdog import Activity, Watchdog
from services.system_api.supervisor.watermarks import Freshness, WatermarkWriter
from shared.bus.protocol import RECORD_LIMIT, Bus, Writer
from shared.bus.topics import TopicsOptions
from shared.errors import Malformed, TooLarge, TrelayError, Unavailable
from shared.runtime.clock import Clock
from shared.runtime.retry import retrying
from shared.telemetry.tracing import NO_TRACING, Tracing

T = TypeVar("T")

_DRAIN_TIMEOUT = 2.0
"""Seconds that a stop waits for commits in flight, so that less is read twice."""

_HASTY = 0.001
_MAX_HASTY = 3
"""Waits for a change that may end within `_HASTY` seconds, one after another, although nothing has changed. A source
whose wait never waits is polled at its interval, and leaves the event loop to others."""


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What all sources of a replica share."""

    bus: Bus
    topics: TopicsOptions
    clock: Clock
    rng: random.Random
    tracing: Tracing = NO_TRACING
    watermark_interval: float | None = None
    """Seconds between two watermarks of a source; None for none."""


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives a run: the poller reads or sets it meanwhile, or the next run needs it."""

    control: SourceControl
    oversize: OversizeFilter
    wakeup: Wakeup
    owned: Callable[[], bool] = lambda: True
    """Whether the lease is held and the run is not abandoned, without asking anybody."""


class SourceRun:
    """Runs one source until something fails."""

    def __init__(
        self,
        options: SourceOptions,
        open_source: SourceOpener,
        context: SourceContext,
        reporter: Reporter,
        lasting: Lasting,
        watchdog: Watchdog,
    ) -> None:
        """`watchdog` is this run's own; the poller reads it."""
        self._name = reporter.status.name
        self._options = options
        self._open_source = open_source
        self._context = context
        self._clock = context.clock
        self._report = reporter
        self._control = lasting.control
        self._watchdog = watchdog
        self._oversize = lasting.oversize
        self._wakeup = lasting.wakeup
        self._owned = lasting.owned
        self._requests = OperatorRequests(self._name, lasting.control, context.topics.checkpoints, context.clock)
        self._schedule = Schedule(options.interval, options.retry)
        self._policy = retrying(
            options.retry,
            on_retry=lambda state: reporter.retrying(str(state.outcome and state.outcome.exception())),
            sleep=self._sleep,
            rng=context.rng,
        )
        """One for all polls: to make a policy costs 40 µs, to use it costs 20."""
        self._own = OwnPart()
        """As of the last batch that was submitted."""
        self._last = Batch()
        """What was submitted to the bus last."""
        self._hasty = 0
        """Waits in a row that ended at once, each after a poll that found nothing."""
        self._freshness = Freshness()
        self._watermarks = None
        if (interval := context.watermark_interval) is not None:
            self._watermarks = WatermarkWriter(
                self._name, options.channel, context.topics, context.bus, interval, context.clock
            )

    async def run(self) -> None:
        """Run the source; return only if it is paused, once a rewind that was asked for is carried out.

        Raises:
            BusUnavailable: the bus is unavailable.
            Fenced: a newer owner runs this source.
            TooLarge: the bus rejects a record; the next run isolates it.
            Exception: anything else is a bug of the source, or settings that cannot work.
        """
        topics = self._context.topics
        destination = topics.ingest if self._options.channel is None else topics.publish
        async with AsyncExitStack() as stack:
            self._begin(Activity.CONNECTING)
            with bus_errors():
                writer = await stack.enter_async_context(self._context.bus.writer(f"system.{self._name}"))
                saved = await self._checkpoint()
            self._own, checkpoint = await self._requests.rewind(saved, writer, partial(self._plan, saved.checkpoint))
            self._report.resuming(self._own, checkpoint)
            if self._control.current.paused:
                return
            self._report.starting()
            source = await self._retry(
                Activity.OPENING, lambda: stack.enter_async_context(self._open_source(checkpoint))
            )
            publisher = Publisher(
                self._name, destination, topics, writer, self._settling(source, destination), self._clock, self._owned
            )
            try:
                await self._begin_snapshot(source, publisher)
                await self._read(source, publisher, writer)
            except TooLarge:
                self._oversize.note_too_large(self._last, publisher.unsettled)
                raise
            except asyncio.CancelledError:
                with contextlib.suppress(TrelayError, TimeoutError):
                    async with asyncio.timeout(_DRAIN_TIMEOUT):
                        await publisher.drain()
                raise

    async def _checkpoint(self) -> Saved:
        saved = await self._context.bus.latest(self._context.topics.checkpoints, self._name.encode())
        return Saved(*split({checkpoint_part(self._name, key): value for key, value in saved.items()}))

    async def _plan(self, current: Checkpoint, place: Place) -> Checkpoint:
        return await checkpoint_at(place, current, self._open_source, partial(self._retry, Activity.OPENING))

    async def _begin_snapshot(self, source: Source, publisher: Publisher) -> None:
        request = self._requests.snapshot
        if request is None:
            return
        if not isinstance(source, Snapshotting):
            await self._requests.refuse_snapshot(request, "this kind of source has no snapshots")
            return
        try:
            parts = await self._retry(Activity.OPENING, source.snapshot)
        except Malformed as exc:
            await self._requests.refuse_snapshot(request, str(exc))
            return
        self._own = self._own.carried_out(request.generation)
        self._begin(Activity.PUBLISHING)
        await publisher.submit(Batch(checkpoint=parts), self._own)
        await publisher.drain()
        await self._requests.snapshot_begun(request)

    async def _read(self, source: Source, publisher: Publisher, writer: Writer) -> None:
        while True:
            began = self._clock.monotonic()
            batch = await self._retry(Activity.POLLING, lambda: self._poll(source, publisher))
            self._report.polled(batch, self._clock.monotonic() - began)
            await self._publish(publisher, batch)
            await self._mark(batch, writer)
            self._report.progressed(caught_up=not batch.more and not batch.waiting)
            if batch.more:
                await asyncio.sleep(0)  # poll and publish may not have waited: let other tasks run
            else:
                await self._wait(source, self._clock.monotonic() - began, found=bool(batch))

    async def _poll(self, source: Source, publisher: Publisher) -> Batch:
        try:
            with self._context.tracing.poll(self._name) as poll:
                self._freshness.begin(self._clock.time())
                batch = checked(await source.poll(1 if self._oversize.isolating else self._options.batch))
                poll.found(len(batch.records), len(batch.rejects))
                return batch
        except Unavailable:
            # Commit what was read before: the upstream may stay unavailable for long.
            await publisher.drain()
            raise

    async def _publish(self, publisher: Publisher, batch: Batch) -> None:
        self._begin(Activity.PUBLISHING)
        limit = RECORD_LIMIT if self._options.channel is None else self._context.topics.event_limit
        self._last = self._oversize.exclude_rejected(batch, limit)
        self._own = self._own.after(self._last)
        if self._last:
            await publisher.submit(self._last, self._own)
        else:
            self._report.counted(self._own)
        if not batch.more or self._oversize.isolating:
            await publisher.drain()
        self._watchdog.pause()

    async def _mark(self, batch: Batch, writer: Writer) -> None:
        """Write a watermark, where all that the upstream had is published."""
        as_of = self._freshness.end(batch)
        if as_of is not None and self._watermarks is not None:
            self._begin(Activity.PUBLISHING)
            await self._watermarks.write(as_of, writer)
            self._watchdog.pause()

    def _settling(self, source: Source, destination: str) -> Settle:
        settling = source if isinstance(source, Settling) else None

        async def settle(batch: Batch, own: OwnPart, took: float) -> None:
            self._oversize.note_committed()
            self._report.committed(batch, own, took)
            self._context.tracing.sent(destination, batch.records, took)
            if settling is None:
                return
            self._begin(Activity.SETTLING)
            try:
                await settling.settle(batch)
            except Unavailable as exc:
                self._report.unsettled(str(exc))
            self._begin(Activity.PUBLISHING)

        return settle

    async def _wait(self, source: Source, took: float, *, found: bool) -> None:
        """Wait for the interval, for a change, or for an operator who asks for a poll."""
        delay = self._schedule.next_poll(took, self._context.rng.random())
        began = self._clock.monotonic()
        self._watchdog.begin(Activity.WAITING, began, delay)
        await self._wakeup.wait(partial(_changed, source), delay)
        hasty = not found and self._clock.monotonic() - began < _HASTY
        self._hasty = self._hasty + 1 if hasty else 0
        if self._hasty > _MAX_HASTY:
            await self._wakeup.wait(_endless, delay)

    async def _sleep(self, seconds: float) -> None:
        """Wait between two attempts, unless an operator asks for one now."""
        await self._wakeup.wait(partial(self._clock.sleep, seconds))

    async def _retry(self, activity: Activity, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeat an attempt by the retry policy; when it is exhausted, report the source down and probe it."""

        async def watched() -> T:
            self._begin(activity)
            try:
                return await attempt()
            finally:
                self._watchdog.pause()

        try:
            return await self._policy(watched)
        except Unavailable as exc:
            self._report.down(str(exc))
        while True:
            await self._sleep(self._schedule.next_probe(self._context.rng.random()))
            try:
                return await watched()
            except Unavailable as exc:
                self._report.down(str(exc))

    def _begin(self, activity: Activity) -> None:
        self._watchdog.begin(activity, self._clock.monotonic())


async def _changed(source: Source) -> None:
    with contextlib.suppress(Unavailable):  # the next poll finds out, and is retried by the policy
        await source.wait_for_change()
        return
    await _endless()


async def _endless() -> None:
    await asyncio.Event().wait()
