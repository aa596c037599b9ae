"""What becomes of an event."""

import pytest

from services.process_api.pipeline.steps.outcome import Blocked, Rejected, failure, joined
from shared.errors import Malformed, Unavailable
from shared.expression.jsonata import EvaluationTimeout
from tests.unit.services.process_api.making import draft


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (Malformed("garbage"), Rejected, "steps.0: garbage"),
        (Unavailable("no answer"), Blocked, "no answer"),
        (KeyError("x"), Rejected, "steps.0: KeyError: 'x'"),
    ],
)
def test_an_error_is_named_by_its_place(error: Exception, kind: type[Exception], text: str) -> None:
    found = failure("steps.0", error)
    assert (type(found), str(found), found.__cause__) == (kind, text, error)


def test_an_error_of_an_inner_step_keeps_its_place() -> None:
    inner = failure("steps.0.inner", Malformed("garbage"))
    assert failure("steps.0", inner) is inner


def test_a_time_out_is_marked() -> None:
    found = failure("a", EvaluationTimeout("too long"))
    assert isinstance(found, Rejected)
    assert found.timed_out


def test_a_part_that_fails_fails_the_event() -> None:
    rejected, blocked, one, two = Rejected("r"), Blocked("b", "a"), draft(1), draft(2)
    assert joined([(one,)]) == (one,)
    assert joined([(one,), (), (two,)]) == [one, two]
    assert joined([]) == []
    assert joined([(one,), blocked, Blocked("c", "a")]) is blocked
    assert joined([blocked, rejected]) is rejected
