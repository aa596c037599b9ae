"""The composition root: every outside part can be replaced by an argument, and the whole runs in one event loop."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Unpack

from services.process_api.pipeline.check import build, faults
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.settings import ProcessSettings
from services.process_api.worker.metrics import ProcessMetrics
from services.process_api.worker.reporting import Reporter
from services.process_api.worker.stream import Stream
from shared.bus.protocol import Bus
from shared.composition.parts import Given, Parts, opened_parts
from shared.composition.serving import RunningService, serving
from shared.errors import SettingsError, Unavailable
from shared.http.server import application
from shared.runtime.reloading import Apply, Section
from shared.runtime.tasks import Tasks

_PIPELINES = ("process", "pipelines")

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
    selection = await _checked(settings.process.pipelines)
    async with opened_parts("process_api", settings, **given) as parts, Tasks() as tasks:
        service = _Service(settings, selection, parts)
        app = application(settings.process.listen, parts.health)
        async with serving(app, settings.process.listen, parts, tasks, tasks.cancel_all) as running:
            tasks.keep("pipelines", parts.bus.keep(service.run_pipelines))
            yield dataclasses.replace(running, sections=(Section(_PIPELINES, service.prepare_pipelines),))


async def _checked(pipelines: Mapping[str, PipelineOptions]) -> Selection:
    if wrong := await asyncio.to_thread(faults, pipelines):
        raise SettingsError("\n".join(map(str, wrong)))
    return build(pipelines)


class _Service:
    """The pipelines, and what they report to."""

    def __init__(self, settings: ProcessSettings, selection: Selection, parts: Parts) -> None:
        self._options = settings.process
        self._topics = settings.bus.topics
        self._selection = selection
        self._parts = parts
        self._metrics = ProcessMetrics(parts.health.registry, selection.pipelines, parts.clock)
        self._reporter = Reporter(parts.alerts, self._metrics, parts.clock)
        parts.health.readiness.require(BUS, lambda: parts.bus.problem)

    async def prepare_pipelines(self, pipelines: Mapping[str, PipelineOptions]) -> Apply:
        """Check and build pipelines; those that run are replaced at the next batch of each partition.

        Raises:
            SettingsError: as for `build_process_api`.
        """
        selection = await _checked(pipelines)

        def apply() -> None:
            self._metrics.declare(selection.pipelines)
            self._selection = selection

        return apply

    async def run_pipelines(self, bus: Bus) -> None:
        """Process the partitions that the group assigns to this replica.

        Raises:
            Unavailable: the bus does not answer.
        """
        clock = self._parts.clock
        transaction = self._options.transaction
        stream = Stream(bus, self._topics, lambda: self._selection, transaction, self._reporter, clock, self._parts.rng)
        async with bus.join(self._topics.ingest, stream.group, self._parts.node, stream.run_partition):
            while True:
                with contextlib.suppress(Unavailable):  # the bus reports that as its own problem
                    await self._measure_lag(bus, stream)
                self._reporter.expire_pauses(stream.held)
                await clock.sleep(_LAG_INTERVAL)

    async def _measure_lag(self, bus: Bus, stream: Stream) -> None:
        ends = await bus.bounds(self._topics.ingest)
        self._metrics.set_lag({number: max(0, ends[number][1] - at) for number, at in stream.positions.items()})
