"""Batches behind a gate: paused pipelines, and pipelines that run again after a rewind."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.process_api.operations.gate import Gate, Paused
from services.process_api.operations.starts import Starts
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.worker.batch import Batch
from services.process_api.worker.poison import PoisonTracker
from shared.bus.memory.log import MemoryRecord
from tests.unit.services.process_api.making import event, pipeline, record, selection
from tests.unit.services.process_api.pipeline.steps.waiting import LookUp, scope, state_of, waiting_pipeline

REWOUND = Starts().rewound("a", 10, 4, "r")[1]


def behind(starts: Starts, *pipelines: Pipeline, paused: Sequence[str] = ()) -> Batch:
    return Batch(selection(*pipelines), PoisonTracker(), gate=Gate(starts, lambda: paused))


def records(*offsets: int, **more: Any) -> list[MemoryRecord]:
    return [record(event({"n": offset}), offset, **more) for offset in offsets]


def counts(batch: Batch) -> dict[str, int]:
    return {name: tally.taken for name, tally in batch.tallies.items()}


def test_below_its_start_a_pipeline_does_not_run() -> None:
    batch = behind(REWOUND, pipeline(name="a"), pipeline(name="b"))
    assert batch.add(records(8, 9, 10, 11)) == 4
    assert counts(batch) == {"a": 4, "b": 2}


def test_a_record_of_no_pipeline_that_runs_passes_in_silence() -> None:
    batch = behind(REWOUND, pipeline(name="b"))
    assert batch.add(records(9, 10)) == 2
    assert (counts(batch), batch.count, batch.rejects) == ({"b": 1}, 2, [])


def test_the_dead_letters_of_no_pipeline_are_written_once() -> None:
    batch = behind(REWOUND)
    batch.add([*records(8, 10), record(b"no event", 9, source=None), record(b"no event", 11, source=None)])
    assert [reject.origin for reject in batch.rejects] == ["trelay.ingest/0/10", "trelay.ingest/0/11"]


def test_the_record_of_a_paused_pipeline_is_not_added_and_counts_as_no_attempt() -> None:
    batch = behind(Starts(), pipeline(name="a"), paused=["a"])
    with pytest.raises(Paused):
        batch.add(records(7))
    assert batch.count == 0
    assert batch._poison.attempts.before(7) == 0


async def test_the_same_with_steps_that_wait() -> None:
    batch = behind(REWOUND, waiting_pipeline(LookUp(), name="b"))
    await batch.add_waiting(records(9, 10), scope())
    assert (counts(batch), batch.count, batch.rejects) == ({"b": 1}, 2, [])
    batch = behind(Starts(), waiting_pipeline(LookUp(), name="b"), paused=["b"])
    with pytest.raises(Paused):
        await batch.add_waiting(records(7), scope())
    assert batch.count == 0


async def test_results_of_a_paused_pipeline_are_not_due() -> None:
    made = pipeline({"latest": {"every": 100}}, name="a")
    state = state_of(made)
    state.at_no_record()
    step = state.step("a", "steps.0.latest")
    step.set_timer(b"w", 1, b"k")
    state.keep("a")
    await behind(Starts(), made, paused=["a"]).add_due(scope(state), 0)
    assert step.next_timer(b"w") == 1
    await behind(Starts(), made).add_due(scope(state), 0)
    assert step.next_timer(b"w") is None
