"""How the status of a source is shown."""

import pytest

from services.system_api.operations.checkpoints import OwnPart
from services.system_api.supervisor.description import describe, problem
from services.system_api.supervisor.status import SourceStatus, State


def test_a_source_that_works_has_no_problem() -> None:
    status = SourceStatus("orders", 0)
    status.progressed(100, caught_up=True)
    status.waiting = ("a.ndjson: line 7 has no end yet",)
    status.committed({str(part): b"1" for part in range(60)}, OwnPart())
    described = describe(status, 103.5)
    assert described["state"] == "running"
    assert described["caught_up_seconds_ago"] == 3.5
    assert described["waiting"] == ["a.ndjson: line 7 has no end yet"]
    assert (len(described["position"]), described["parts"]) == (50, 60)
    assert problem(status) is None


@pytest.mark.parametrize("state", [State.BLOCKED, State.RETRYING, State.DOWN])
def test_a_problem_is_one_line(state: State) -> None:
    status = SourceStatus("orders", 0)
    status.enter(state, 1, "connection refused")
    assert problem(status) == f"{state}: connection refused"


def test_standby_is_no_problem_but_a_degraded_source_is() -> None:
    status = SourceStatus("orders", 0)
    status.enter(State.STANDBY, 1)
    assert problem(status) is None
    status.note_problems(("a.csv: Permission denied", "b.csv: Permission denied"))
    assert problem(status) == "a.csv: Permission denied; b.csv: Permission denied"


@pytest.mark.parametrize(
    ("error", "said"), [("paused by ann: maintenance", "paused by ann: maintenance"), (None, "paused")]
)
def test_a_paused_source_says_why(error: str | None, said: str) -> None:
    status = SourceStatus("orders", 0)
    status.enter(State.PAUSED, 1, error)
    assert problem(status) == said
