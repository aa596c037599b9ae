"""The status that operators see, and the changes that need an alert."""

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.supervisor.status import SourceStatus, State


def test_an_outage_has_one_notice_at_its_beginning_and_one_at_its_end() -> None:
    status = SourceStatus("orders", 0)
    assert status.progressed(1, caught_up=True) is None
    status.retrying("refused", 2)
    assert status.state.value == "retrying"
    begun = status.down("refused", 3)
    assert begun is not None
    assert (begun.begun, begun.text) == (True, "down: refused (tried 2 times; it is tried until it works)")
    assert status.down("refused", 4) is None
    assert status.failed("KeyError", 5) is None
    status.enter(State.STARTING, 6)
    status.retrying("refused", 7)
    assert status.state.value == "down", "a retry does not end an outage"
    over = status.progressed(8, caught_up=False)
    assert over is not None
    assert (over.begun, over.text) == (False, "works again")
    assert status.progressed(9, caught_up=True) is None
    assert (status.error, status.failures, status.polled_at, status.caught_up_at) == (None, 0, 9, 9)


def test_another_replica_takes_over_what_is_wrong_and_what_people_know_of_it() -> None:
    status, other = SourceStatus("orders", 0), SourceStatus("orders", 0)
    status.down("refused", 1)
    status.note_problems(("a.csv: no header",))
    other.adopt("refused", status.outage_since, status.problems, 2)
    status.standby(2)
    assert (status.state, status.outage_since, status.problems, status.noticed_parts) == (State.STANDBY, None, (), {})
    assert (other.state, other.outage_since, other.noticed_parts) == (State.DOWN, 1, {"a.csv": "no header"})
    assert other.down("refused", 3) is None, "known already"
    assert other.note_problems(("a.csv: no header",)) == []
    over = other.progressed(4, caught_up=True)
    assert over is not None
    assert not over.begun
    assert other.note_problems(()) == [(False, "a.csv", "works again")]


def test_problems_of_parts_are_taken_over_without_an_outage() -> None:
    status = SourceStatus("orders", 0)
    status.adopt("", None, ("a.csv: no header",), 1)
    assert (status.state, status.outage_since) == (State.STANDBY, None)
    assert status.note_problems(()) == [(False, "a.csv", "works again")]


def test_starting_leaves_a_source_that_is_down_in_its_state() -> None:
    status = SourceStatus("orders", 0)
    status.starting(1)
    assert status.state.value == "starting"
    status.down("refused", 2)
    status.starting(3)
    assert status.state.value == "down"


def test_a_source_with_a_problem_of_a_part_is_degraded_while_it_works() -> None:
    status = SourceStatus("orders", 0)
    status.note_problems(("a.csv: permission denied",))
    status.progressed(1, caught_up=True)
    assert status.state.value == "degraded"
    status.down("refused", 2)
    assert status.state.value == "down"
    status.note_problems(())
    status.progressed(3, caught_up=True)
    assert status.state is State.RUNNING


def test_a_source_that_another_replica_runs_has_no_error_here() -> None:
    status = SourceStatus("orders", 0)
    status.retrying("refused", 1)
    status.standby(2)
    assert (status.state, status.error, status.failures) == (State.STANDBY, None, 0)


def test_nothing_is_expected_of_a_paused_source() -> None:
    status = SourceStatus("orders", 0)
    status.down("refused", 1)
    over = status.paused(2, "paused by oncall")
    assert over is not None
    assert not over.begun
    assert (status.state.value, status.error, status.failures) == ("paused", "paused by oncall", 0)
    status.starting(3)
    assert (status.state, status.error) == (State.STARTING, None)


def test_a_source_resumes_from_what_is_committed() -> None:
    status = SourceStatus("orders", 0)
    status.resuming(OwnPart(rows=7, published=7), {"": b"7"})
    assert (status.position, status.own.published) == ({"": "7"}, 7)


def test_since_is_when_the_state_was_entered() -> None:
    status = SourceStatus("orders", 0)
    status.progressed(5, caught_up=False)
    status.progressed(7, caught_up=False)
    assert (status.state, status.since, status.caught_up_at) == (State.RUNNING, 5, None)


def test_problems_of_parts_have_one_notice_at_the_beginning_and_one_at_the_end() -> None:
    status = SourceStatus("orders", 0)
    assert status.note_problems(()) == []
    assert status.note_problems(("a.csv: permission denied",)) == [(True, "a.csv", "permission denied")]
    assert status.note_problems(("a.csv: permission denied", "b.csv: no header")) == [(True, "b.csv", "no header")]
    assert status.problems == ("a.csv: permission denied", "b.csv: no header")
    assert status.note_problems(("b.csv: no header",)) == [(False, "a.csv", "works again")]
    assert status.note_problems(()) == [(False, "b.csv", "works again")]


def test_the_position_is_what_was_committed_part_by_part() -> None:
    status = SourceStatus("orders", 0)
    status.committed({"a": b"1", "b": b"2"}, OwnPart())
    status.committed({"a": None, "b": b"3"}, OwnPart(rows=3, published=3))
    assert status.own.published == 3
    assert status.position == {"b": "3"}
