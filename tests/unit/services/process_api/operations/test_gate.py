"""Which pipelines run on a record."""

import pytest

from services.process_api.operations.gate import Ahead, Gate, NotLoaded, Paused
from services.process_api.operations.starts import Starts
from services.process_api.pipeline.part import Part
from shared.events.dead_letter import Replay
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


def test_a_later_part_waits_for_the_rewind_that_its_event_comes_from() -> None:
    part = Part("a", 1, generation=1, partition=1, offset=5)
    with pytest.raises(Ahead) as caught:
        Gate(Starts(), set).admitted((A,), 7, part)
    assert caught.value.offset == 7
    # The requests were read again meanwhile, and it is in none of them.
    assert Gate(Starts(), set, ahead=7).admitted((A,), 7, part) == (A,)
    _, starts = Starts().cut("a", 7, "1-x", {0: 7, 1: 3}, divided=True).rewound("a", 7, 7, "1-x")
    gate = Gate(starts, set)
    assert gate.generation("a") == 1
    assert gate.admitted((A,), 7, part) == (A,)
    assert gate.admitted((A,), 7, part._replace(generation=0)) == (), "it is made again"
    assert gate.admitted((A,), 7, part._replace(generation=0, offset=2)) == (A,)
    assert gate.admitted((A,), 6, part) == (), "done with"


REPLAY = Replay("0-1", 1, "a", origin=(1, 5))


def test_a_replay_from_before_a_rewind_runs_only_where_the_rewind_does_not_repeat_its_event() -> None:
    _, starts = Starts().rewound("a", 10, 4, "r")
    gate = Gate(starts, set, partition=1)
    assert gate.admitted((A, B), 9, replay=REPLAY) == ()
    assert gate.admitted((A, B), 10, replay=REPLAY) == (A, B), "asked after the rewind"
    for origin in [(1, 3), (0, 5), (1, 9), None]:
        assert gate.admitted((A, B), 9, replay=REPLAY._replace(origin=origin)) == (A,)
    assert gate.admitted((A, B), 9, replay=REPLAY._replace(origin=(1, 4))) == ()


def test_a_replay_in_a_later_part_runs_only_where_its_event_is_not_made_again() -> None:
    _, starts = Starts().cut("a", 10, "1-x", {0: 3, 1: 4}, divided=True).rewound("a", 10, 4, "1-x")
    gate, part = Gate(starts, set, partition=1), Part("a", 1, generation=0, partition=0, offset=3)
    assert gate.admitted((A,), 9, part, REPLAY) == ()
    assert gate.admitted((A,), 10, part, REPLAY) == (A,), "asked after the rewind"
    assert gate.admitted((A,), 9, part._replace(offset=2), REPLAY) == (A,)
    # An event that was edited is not made again: it runs, unless it is the replay of a replay that runs.
    assert gate.admitted((A,), 9, part, REPLAY._replace(edited="0-0", origin=None)) == (A,)
    assert gate.admitted((A,), 9, part, REPLAY._replace(edited="0-0")) == ()


def test_an_event_whose_part_is_not_loaded_names_it() -> None:
    found = NotLoaded(Part("a", 1))
    assert (found.pipeline, str(found)) == ("a", "this replica has not loaded part 2 of the pipeline 'a' yet")


def test_a_dead_letter_says_how_often_its_pipeline_was_rewound() -> None:
    gate = Gate(Starts("e", carried_out={"a": "3-x"}), set)
    assert (gate.rewinds("a@1f"), gate.rewinds("b@2e"), gate.rewinds("")) == ("3 e", "0 e", "")
