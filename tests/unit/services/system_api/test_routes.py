"""What is told of one source."""

import pytest

from services.system_api.routes import describe, problem
from services.system_api.supervisor.status import Condition, State


def test_a_source_that_works_has_no_trouble() -> None:
    condition = Condition("orders", 0)
    condition.progressed(100, caught_up=True)
    condition.saved({str(part): b"1" for part in range(60)})
    described = describe(condition, 103.5)
    assert described["state"] == "reading"
    assert described["caught_up_seconds_ago"] == 3.5
    assert (len(described["position"]), described["parts"]) == (50, 60)
    assert problem(condition) is None


@pytest.mark.parametrize("state", [State.BLOCKED, State.RETRYING, State.DOWN, State.FAULTY])
def test_what_is_wrong_is_told_in_one_line(state: State) -> None:
    condition = Condition("orders", 0)
    condition.enter(state, 1, "connection refused")
    assert problem(condition) == f"{state}: connection refused"


def test_standing_by_is_no_trouble_but_a_missing_part_is() -> None:
    condition = Condition("orders", 0)
    condition.enter(State.STANDBY, 1)
    assert problem(condition) is None
    condition.in_part(("a.csv: Permission denied", "b.csv: Permission denied"))
    assert problem(condition) == "a.csv: Permission denied; b.csv: Permission denied"
