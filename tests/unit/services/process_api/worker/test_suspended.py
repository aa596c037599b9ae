"""An evaluation apart may take seconds: the heartbeats to the bus, health and the other partitions go on meanwhile."""

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.worker.filler import Filler
from services.process_api.worker.pace import FULL_SLICE, Pace
from services.process_api.worker.poison import PoisonTracker
from shared.bus.protocol import Record
from shared.expression import apart
from shared.runtime.tasks import started
from tests.unit.services.process_api.making import event, pipeline, record
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, waiting_pipeline
from tests.unit.services.process_api.worker.test_filler import Scripted, TickingClock, filler
from tests.unit.shared.expression.stopped import stopped_evaluator

KEEP = {"filter": "$pad(s, 2) = 'b '"}


@pytest.fixture
def process() -> Iterator[apart._Process]:
    """The process that evaluates, stopped."""
    with stopped_evaluator() as found:
        yield found


def records(count: int) -> list[Record]:
    return [record(event({"s": "b"}), offset) for offset in range(count)]


async def filled(filling: Filler, process: apart._Process, clock: TickingClock | None = None) -> Any:
    """Fill a batch while another task runs, and a minute of the clock passes; then the process goes on."""
    task = started("fill", filling.fill())
    async with asyncio.timeout(60):
        for _ in range(100):
            await asyncio.sleep(0)
    assert not task.done(), "the evaluation goes on"
    if clock is not None:
        clock.advance(60.0)
    os.kill(process.pid, signal.SIGCONT)
    batch, _ = await task
    return batch


@pytest.mark.parametrize("made", [pipeline(KEEP), waiting_pipeline(LookUp(), KEEP)], ids=["plain", "waiting"])
async def test_other_tasks_run_while_a_step_evaluates_apart(made: Pipeline, process: apart._Process) -> None:
    batch = await filled(filler(Scripted(records(3)), made), process)
    assert (batch.count, len(batch.outputs), batch.rejects) == (3, 3, [])


@pytest.mark.parametrize("made", [pipeline(KEEP), waiting_pipeline(LookUp(), KEEP)], ids=["plain", "waiting"])
async def test_an_event_that_waits_for_its_evaluation_is_not_slow(
    made: Pipeline, process: apart._Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other tasks ran meanwhile. It waited for the evaluations of other partitions, perhaps, and is not to blame."""
    noted: list[float] = []
    monkeypatch.setattr(PoisonTracker, "note_slow", lambda _, _record, seconds: noted.append(seconds))
    pace, clock = Pace(), TickingClock(0)
    await filled(filler(Scripted(records(1)), made, pace=pace, clock=clock), process, clock)
    assert (noted, pace.slice) == ([0.0], FULL_SLICE)
