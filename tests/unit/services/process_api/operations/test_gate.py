"""Which pipelines run on a record."""

import pytest

from services.process_api.operations.gate import Gate, Paused
from services.process_api.operations.starts import Starts
from tests.unit.services.process_api.making import pipeline

A, B = pipeline(name="a"), pipeline(name="b")


def test_without_rewinds_and_pauses_all_pipelines_run() -> None:
    gate = Gate(Starts(), set)
    assert gate.passes_all(0)
    assert gate.admitted((A, B), 0) == (A, B)
    assert gate.is_new(0)


def test_after_a_rewind_one_pipeline_runs_again() -> None:
    _, starts = Starts().rewound("a", 10, 4, "r")
    gate = Gate(starts, set)
    assert [gate.admitted((A, B), offset) for offset in (4, 9, 10)] == [(A,), (A,), (A, B)]
    assert gate.admitted((B,), 9) == ()
    assert [gate.is_new(offset) for offset in (9, 10)] == [False, True]
    assert [gate.passes_all(offset) for offset in (9, 10)] == [False, True]


def test_a_paused_pipeline_holds_its_records_and_no_others() -> None:
    paused = {"b"}
    gate = Gate(Starts(), lambda: paused)
    assert gate.admitted((A,), 0) == (A,)
    with pytest.raises(Paused) as caught:
        gate.admitted((A, B), 0)
    assert (caught.value.pipeline, caught.value.place, str(caught.value)) == ("b", "", "paused by an operator")
    assert not gate.passes_all(0)
    assert gate.is_paused("b")
    assert gate.paused == {"b"}
    paused.clear()
    assert gate.admitted((A, B), 0) == (A, B)
