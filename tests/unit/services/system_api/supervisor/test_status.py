"""What operators see, and when people must hear of it."""

from services.system_api.supervisor.status import Condition, State


def test_an_outage_is_told_once_whatever_follows_and_ended_once() -> None:
    condition = Condition("orders", 0)
    assert condition.progressed(1, caught_up=True) is None
    condition.retrying("refused", 2)
    assert condition.state.value == "retrying"
    begun = condition.down("refused", 3)
    assert begun is not None
    assert (begun.begun, begun.text) == (True, "source orders is down: refused")
    assert condition.down("refused", 4) is None
    assert condition.faulty("KeyError", 5) is None
    condition.enter(State.OPENING, 6)
    condition.retrying("refused", 7)
    assert condition.state.value == "down", "an outage is not over because it is tried again"
    over = condition.progressed(8, caught_up=False)
    assert over is not None
    assert (over.begun, over.text) == (False, "source orders works again")
    assert condition.progressed(9, caught_up=True) is None
    assert (condition.error, condition.failures, condition.polled_at, condition.caught_up_at) == (None, 0, 9, 9)


def test_the_next_owner_tells_of_its_own_outage() -> None:
    condition = Condition("orders", 0)
    condition.down("refused", 1)
    over = condition.standby(2)
    assert over is not None
    assert "another replica" in over.text
    assert condition.standby(3) is None
    assert condition.down("refused", 4) is not None


def test_opening_says_nothing_new_of_a_source_that_is_down() -> None:
    condition = Condition("orders", 0)
    condition.opening(1)
    assert condition.state.value == "opening"
    condition.down("refused", 2)
    condition.opening(3)
    assert condition.state.value == "down"


def test_since_is_when_the_state_was_entered() -> None:
    condition = Condition("orders", 0)
    condition.progressed(5, caught_up=False)
    condition.progressed(7, caught_up=False)
    assert (condition.state, condition.since, condition.caught_up_at) == (State.READING, 5, None)


def test_trouble_with_a_part_is_told_when_it_begins_and_when_it_ends() -> None:
    condition = Condition("orders", 0)
    assert condition.in_part(()) is None
    begun = condition.in_part(("a.csv: permission denied",))
    assert begun is not None
    assert "a.csv: permission denied" in begun.text
    assert condition.in_part(("a.csv: permission denied", "b.csv: no header")) is None
    assert condition.partly == ("a.csv: permission denied", "b.csv: no header")
    over = condition.in_part(())
    assert over is not None
    assert not over.begun


def test_the_position_is_what_was_committed_part_by_part() -> None:
    condition = Condition("orders", 0)
    condition.saved({"a": b"1", "b": b"2"})
    condition.saved({"a": None, "b": b"3"})
    assert condition.position == {"b": "3"}
