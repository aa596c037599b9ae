"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Unpack

from aiohttp import web

from services.process_api.api.documents import add_documents
from services.process_api.dead_letters.routes import DeadLetterRoutes
from services.process_api.dead_letters.service import DeadLetters
from services.process_api.operations.activity import Activities
from services.process_api.operations.controls import Controls
from services.process_api.operations.exclusive import ExclusiveRequests
from services.process_api.operations.overview import Overview
from services.process_api.operations.settling import Settling
from services.process_api.operations.statuses import ReplicaStatus, Statuses
from services.process_api.pipeline.check import build, faults
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.routes import PipelineRoutes
from services.process_api.settings import ProcessSettings
from services.process_api.shadow.metrics import ShadowMetrics
from services.process_api.shadow.routes import ShadowRoutes
from services.process_api.shadow.shadows import Shadows
from services.process_api.state.memory import MemoryStores
from services.process_api.state.options import StateOptions
from services.process_api.state.store import Stores
from services.process_api.watermarks.passing import Watched, Watermarks
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream, group_of
from shared.bus.protocol import Bus, Reader
from shared.composition.parts import Given, Parts, opened_parts
from shared.composition.serving import RunningService, serving
from shared.errors import SettingsError, Unavailable
from shared.http.operators import Operators
from shared.http.server import application
from shared.runtime.extras import extra
from shared.runtime.reloading import Apply, Reread, Section
from shared.runtime.tasks import Tasks, started

logger = logging.getLogger(__name__)

_PIPELINES, _LISTS = ("process", "pipelines"), ("process", "lists")

BUS = "bus"
"""The required part in `/readyz`."""

_LAG_INTERVAL = 5.0
"""Seconds between two measurements of the records that wait."""


@asynccontextmanager
async def build_process_api(settings: ProcessSettings, **given: Unpack[Given]) -> AsyncIterator[RunningService]:
    """Run the service for as long as the context lasts.

    What is not given is made from the settings, and need not be reachable yet.

    Raises:
        SettingsError: an expression runs away, a function cannot be imported, or the listener or the alerts cannot be
            set up as the settings say.
    """
    await _check(settings.process.pipelines)
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(_opened_stores(settings.process.state))
        parts = await stack.enter_async_context(opened_parts("process_api", settings, **given))
        service = await stack.enter_async_context(contextlib.aclosing(_Service(settings, parts, stores)))
        tasks = await stack.enter_async_context(Tasks())
        service.tasks = tasks
        app = application(settings.process.listen, parts.health)
        parts.tracing.trace_requests(app)
        service.add_routes(app)
        async with serving(app, settings.process.listen, parts, tasks, tasks.cancel_all) as running:
            tasks.keep("shadows", service.shadows.run())
            tasks.keep("pipelines", parts.bus.keep(service.run_pipelines))
            pipelines = Section(_PIPELINES, service.prepare_pipelines, attach=service.attach)
            yield dataclasses.replace(running, sections=(pipelines, Section(_LISTS, _part_of_the_pipelines)))


async def _part_of_the_pipelines(_lists: object) -> Apply:
    """Change nothing more: the settings of the pipelines have the steps of the lists in them."""
    return lambda: None


async def _check(pipelines: Mapping[str, PipelineOptions]) -> None:
    if wrong := await asyncio.to_thread(faults, pipelines):
        raise SettingsError("\n".join(map(str, wrong)))


def _opened_stores(options: StateOptions) -> AbstractAsyncContextManager[Stores]:
    """Open what keeps the state of pipelines.

    Raises (on entering):
        SettingsError: the directory cannot be used, or the extra `state` is not installed.
    """
    if options.directory is None:
        return contextlib.nullcontext(MemoryStores())
    with extra("state", "process.state.directory"):
        from services.process_api.state.rocks import RocksStores  # noqa: PLC0415 -- rocksdict is an extra
    return RocksStores.opened(options.directory)


class _Service:
    """The pipelines, and what they report to."""

    tasks: Tasks

    def __init__(self, settings: ProcessSettings, parts: Parts, stores: Stores) -> None:
        self._stores = stores
        self._options = settings.process
        self._topics = settings.bus.topics
        self._context = StepContext(clock=parts.clock, rng=parts.rng, tracing=parts.tracing)
        self._selection = build(settings.process.pipelines, self._context)
        self._replaced: set[Selection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._parts = parts
        self._metrics = ProcessMetrics(parts.health.registry, self._selection.pipelines, parts.clock)
        self._activities = Activities(parts.clock)
        self._shadow_metrics = ShadowMetrics(parts.health.registry)
        self.shadows = Shadows(self._shadow_metrics.count, parts.clock)
        self._shadow(settings.process.pipelines)
        self._reporter = Reporter(
            parts.alerts, self._metrics, parts.clock, self._activities, self.shadows.offer, parts.tracing
        )
        self._stream: Stream | None = None
        self._reread: Reread | None = None
        self._controls = Controls(self._topics.pipelines, parts.clock)
        self._statuses = Statuses(self._topics.process_status, parts.node, self._status, parts.clock)
        self._letters = DeadLetters(
            self._topics, self._pipelines_of, parts.health.registry, parts.clock, parts.rng, self._controls.followed
        )
        self._exclusive = ExclusiveRequests(parts.clock, parts.rng)
        self._settling = Settling((self._letters.settle, self._exclusive.settle), parts.clock)
        parts.health.readiness.require(BUS, lambda: parts.bus.problem)

    def add_routes(self, app: web.Application) -> None:
        """Add the endpoints for operators."""
        clock, topics, parts = self._parts.clock, self._topics, self._parts
        operators = Operators(self._options.operators, "process.operators", clock)
        overview = Overview(lambda: self._selection, self._controls, self._statuses, topics, group_of(topics), clock)
        PipelineRoutes(
            selection=lambda: self._selection,
            overview=overview,
            controls=self._controls,
            exclusive=self._exclusive,
            operators=operators,
            bus=self._parts.bus,
            ingest=topics.ingest,
            reread=lambda: self._reread,
            node=self._parts.node,
            clock=clock,
        ).add_to(app)
        ShadowRoutes(self.shadows, operators, parts.node).add_to(app)
        DeadLetterRoutes(self._letters, operators, lambda: parts.bus.connected).add_to(app)
        add_documents(app)

    def _pipelines_of(self, source: str) -> dict[str, int]:
        """Return the names of the pipelines that take the events of a source, each with the number of its parts."""
        return {pipeline.name: pipeline.parts for pipeline in self._selection.of(source.encode())}

    def attach(self, reread: Reread) -> None:
        """Take what reads the settings file again."""
        self._reread = reread

    async def _reload(self) -> None:
        """Read the settings file again whenever an operator has asked another replica for it; without end."""
        async for _ in self._controls.reloads(self._parts.node):
            if self._reread is None:
                continue
            try:
                logger.info("reloaded", extra={"parts": await self._reread()})
            except SettingsError as exc:
                logger.warning("changed settings are not used", extra={"error": str(exc)})

    def _status(self) -> ReplicaStatus:
        versions = {pipeline.name: pipeline.version for pipeline in self._selection.pipelines}
        partitions = {} if self._stream is None else self._stream.partitions
        clock = self._parts.clock
        return ReplicaStatus(self._parts.node, clock.time(), self._activities.measure(versions), partitions)

    async def prepare_pipelines(self, pipelines: Mapping[str, PipelineOptions]) -> Apply:
        """Check and build pipelines; those that run are replaced at the next batch of each partition.

        Raises:
            SettingsError: as for `build_process_api`.
        """
        await _check(pipelines)
        selection = build(pipelines, self._context)

        def apply() -> None:
            self._metrics.declare(selection.pipelines)
            self._shadow(pipelines)
            selection.replace(self._selection)
            replaced, self._selection = self._selection, selection
            self._replaced.add(replaced)
            _ = self.tasks.start("close replaced pipelines", self._close_later(replaced))

        return apply

    def _shadow(self, pipelines: Mapping[str, PipelineOptions]) -> None:
        self._shadow_metrics.declare(name for name, options in pipelines.items() if options.shadow is not None)
        self.shadows.replace(pipelines)

    async def aclose(self) -> None:
        """Close what the steps hold open."""
        async with AsyncExitStack() as stack:
            for selection in (self._selection, *self._replaced):
                stack.push_async_callback(selection.close)
            if self._closing:
                await asyncio.wait(self._closing)

    async def _close_later(self, replaced: Selection) -> None:
        """Close pipelines once no batch uses them any more.

        However long that takes: a step that is closed meanwhile would reject the events of the batch.
        """
        unused = asyncio.Event()
        replaced.when_unused(unused.set)
        await unused.wait()
        self._replaced.discard(replaced)
        # Not cut off when the service stops meanwhile: what a step has begun to close is not closed a second time.
        closing = started("close pipelines", replaced.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)

    async def run_pipelines(self, bus: Bus) -> None:
        """Process the partitions that the group assigns to this replica.

        Raises:
            Unavailable: the bus does not answer.
        """
        clock = self._parts.clock
        transaction = self._options.transaction
        stream = Stream(
            bus,
            self._topics,
            lambda: self._selection,
            transaction,
            self._reporter,
            clock,
            rng=self._parts.rng,
            stores=self._stores,
            controls=self._controls,
        )
        self._stream = stream

        watched = Watched(lambda: self._selection, lambda: stream.positions, self._statuses.all)
        watermarks = Watermarks(self._topics, stream.group, watched, clock)

        async def run_partition(reader: Reader) -> None:
            self._settling.request()
            await stream.run_partition(reader)

        async with Tasks() as tasks:
            tasks.keep("pipeline controls", self._controls.follow(bus))
            tasks.keep("status of this replica", self._statuses.publish(bus))
            tasks.keep("statuses of the replicas", self._statuses.follow(bus))
            tasks.keep("reloads", self._reload())
            tasks.keep("settling", self._settling.run(bus))
            tasks.keep("watermarks", watermarks.run(bus))
            # A partition that ran before would process the events of a pipeline that is paused.
            await tasks.meanwhile(self._controls.known())
            async with bus.join(self._topics.ingest, stream.group, self._parts.node, run_partition):
                await tasks.meanwhile(self._watch(bus, stream))

    async def _watch(self, bus: Bus, stream: Stream) -> None:
        """Measure the lag and expire pauses at an interval; without end."""
        while True:
            with contextlib.suppress(Unavailable):  # the bus reports that as its own problem
                await self._measure_lag(bus, stream)
            self._metrics.set_state(size for status in stream.partitions.values() for size in status.state)
            self._reporter.expire_pauses(stream.held)
            await self._parts.clock.sleep(_LAG_INTERVAL)

    async def _measure_lag(self, bus: Bus, stream: Stream) -> None:
        ends = await bus.bounds(self._topics.ingest)
        self._metrics.set_lag({number: max(0, ends[number][1] - at) for number, at in stream.positions.items()})
