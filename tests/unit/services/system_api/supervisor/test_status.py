"""The status that operators see, and the changes that need an alert."""

from services.system_api.supervisor.status import SourceStatus, State


def test_an_outage_has_one_notice_at_its_beginning_and_one_at_its_end() -> None:
    status = SourceStatus("orders", 0)
    assert status.progressed(1, caught_up=True) is None
    status.retrying("refused", 2)
    assert status.state.value == "retrying"
    begun = status.down("refused", 3)
    assert begun is not None
    assert (begun.begun, begun.text) == (True, "source orders is down: refused")
    assert status.down("refused", 4) is None
    assert status.failed("KeyError", 5) is None
    status.enter(State.OPENING, 6)
    status.retrying("refused", 7)
    assert status.state.value == "down", "a retry does not end an outage"
    over = status.progressed(8, caught_up=False)
    assert over is not None
    assert (over.begun, over.text) == (False, "source orders recovered")
    assert status.progressed(9, caught_up=True) is None
    assert (status.error, status.failures, status.polled_at, status.caught_up_at) == (None, 0, 9, 9)


def test_an_outage_ends_here_when_another_replica_takes_over() -> None:
    status = SourceStatus("orders", 0)
    status.down("refused", 1)
    over = status.standby(2)
    assert over is not None
    assert "another replica" in over.text
    assert status.standby(3) is None
    assert status.down("refused", 4) is not None


def test_opening_leaves_a_source_that_is_down_in_its_state() -> None:
    status = SourceStatus("orders", 0)
    status.opening(1)
    assert status.state.value == "opening"
    status.down("refused", 2)
    status.opening(3)
    assert status.state.value == "down"


def test_since_is_when_the_state_was_entered() -> None:
    status = SourceStatus("orders", 0)
    status.progressed(5, caught_up=False)
    status.progressed(7, caught_up=False)
    assert (status.state, status.since, status.caught_up_at) == (State.READING, 5, None)


def test_problems_of_parts_have_one_notice_at_the_beginning_and_one_at_the_end() -> None:
    status = SourceStatus("orders", 0)
    assert status.note_problems(()) is None
    begun = status.note_problems(("a.csv: permission denied",))
    assert begun is not None
    assert "a.csv: permission denied" in begun.text
    assert status.note_problems(("a.csv: permission denied", "b.csv: no header")) is None
    assert status.problems == ("a.csv: permission denied", "b.csv: no header")
    over = status.note_problems(())
    assert over is not None
    assert not over.begun


def test_the_position_is_what_was_committed_part_by_part() -> None:
    status = SourceStatus("orders", 0)
    status.committed({"a": b"1", "b": b"2"})
    status.committed({"a": None, "b": b"3"})
    assert status.position == {"b": "3"}
