"""The pipelines that run in one partition, and their state."""

import pytest

from services.process_api.pipeline.selection import Selection
from services.process_api.state.memory import MemoryStore
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.store import Size
from services.process_api.worker.running import RunningPipelines, StateMissing, running_state
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicPartition
from tests.unit.services.process_api.making import pipeline
from tests.unit.services.process_api.state.clocks import ManualClock

PLAIN = Selection([(["*"], pipeline())])
STATEFUL = Selection([(["*"], pipeline({"latest": {"every": 1000}}))])


def running(clock: ManualClock) -> RunningPipelines:
    return RunningPipelines(PartitionState(MemoryBus(), TopicPartition("state", 0), MemoryStore(), clock))


def test_pipelines_that_keep_state_need_some() -> None:
    assert running_state(None, PLAIN) is None
    with pytest.raises(StateMissing):
        running_state(None, STATEFUL)
    assert running_state(running(ManualClock()), STATEFUL) is not None


def test_the_state_is_that_of_the_pipelines_until_others_replace_them() -> None:
    pipelines = running(ManualClock())
    first = pipelines.of(STATEFUL)
    assert pipelines.of(STATEFUL) is first
    assert pipelines.of(PLAIN) is not first
    assert pipelines.wait() is None


def test_the_wait_ends_when_a_result_is_due() -> None:
    clock = ManualClock()
    pipelines = running(clock)
    assert pipelines.wait() == pytest.approx(0.01)
    state = pipelines.of(STATEFUL)
    assert pipelines.wait() is None
    state.step("orders", "steps.0.latest").set_timer(b"w", state.now() + 500, b"k")
    assert pipelines.wait() == pytest.approx(0.5)
    assert not pipelines.is_due()
    clock.advance(7)
    assert pipelines.wait() == pytest.approx(0.01)
    assert pipelines.is_due()


def test_the_results_of_a_paused_pipeline_are_looked_at_again_after_a_second() -> None:
    clock = ManualClock()
    pipelines = running(clock)
    state = pipelines.of(STATEFUL)
    state.step("orders", "steps.0.latest").set_timer(b"w", state.now(), b"k")
    assert pipelines.wait(["orders"]) == pytest.approx(1.0)
    assert not pipelines.is_due(["orders"])


def test_the_sizes_are_those_of_the_steps_that_run() -> None:
    pipelines = running(ManualClock())
    assert pipelines.sizes == {}
    pipelines.of(STATEFUL)
    assert pipelines.sizes == {("orders", "steps.0.latest"): Size()}
