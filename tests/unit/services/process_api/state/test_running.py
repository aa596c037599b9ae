"""The state of the pipelines that run in one partition."""

import pytest

from services.process_api.state.changes import Layers
from services.process_api.state.memory import MemoryStore
from services.process_api.state.running import RunningState
from services.process_api.state.step_state import Moment
from services.process_api.state.store import Size

PIPELINES = {"a": {"0": "a/x", "2": "a/y"}, "b": {"0": "b/x"}}


def running(layers: Layers) -> RunningState:
    return RunningState(layers, Moment(), lambda: 77, PIPELINES, {"a/x": 1, "a/y": 2, "b/x": 3})


def test_each_pipeline_keeps_and_undoes_its_own() -> None:
    state = running(Layers(MemoryStore()))
    for pipeline, places in PIPELINES.items():
        state.begin(pipeline)
        for place in places:
            state.step(pipeline, place).put(b"k", f"{pipeline}{place}".encode())
    state.undo("a")
    state.keep("b")
    assert state.step("a", "0").get(b"k") is state.step("a", "2").get(b"k") is None
    assert state.step("b", "0").get(b"k") == b"b0"


def test_the_moment() -> None:
    state = running(Layers(MemoryStore()))
    moment = state.step("a", "0").moment
    state.at_record(b"key", 5, b"orders 1 id")
    assert (moment.key, moment.timestamp, moment.provenance, moment.now, moment.idle) == (
        b"key",
        5,
        b"orders 1 id",
        77,
        False,
    )
    state.at_no_record()
    assert moment == Moment(b"", 77, 77, idle=True, since=77)
    state.before_record(9)
    assert moment == Moment(b"", 8, 77, idle=False, since=77)
    state.at_result(b"key", b"orders 1 id")
    assert (moment.key, moment.provenance, state.results) == (b"key", b"orders 1 id", 1)


@pytest.mark.parametrize(("written", "timestamp"), [(0, 0), (60_077, 60_077), (60_078, 77), (10**18, 77), (-1, 77)])
def test_a_timestamp_that_is_none_of_the_clock_counts_as_now(written: int, timestamp: int) -> None:
    state = running(Layers(MemoryStore()))
    moment = state.step("a", "0").moment
    state.at_record(b"key", written, b"orders 1 id")
    assert moment.timestamp == timestamp
    state.before_record(written)
    assert moment.timestamp == timestamp - 1


def test_a_run_begins_once() -> None:
    step = running(Layers(MemoryStore())).step("a", "0")
    assert step.begins()
    assert not step.begins()


def test_the_sizes_are_those_of_committed_state() -> None:
    layers = Layers(MemoryStore())
    state = running(layers)
    state.step("b", "0").put(b"k", b"value")
    state.keep("b")
    assert state.sizes()["b", "0"] == Size()
    layers.store.apply(layers.seal())
    assert state.sizes()["b", "0"] == Size(1, 11)
    assert state.sizes()["a", "0"] == Size()
