from contextvars import copy_context

import pytest

from shared.runtime.trace import Span, current_span, current_trace_id, in_span, traced

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_trace_lasts_as_long_as_its_context() -> None:
    with traced(f"00-{TRACE_ID}-00f067aa0ba902b7-01"):
        assert current_trace_id() == TRACE_ID
        with traced(None):
            assert current_trace_id() is None
        assert current_trace_id() == TRACE_ID
    assert current_trace_id() is None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE_ID}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE_ID}-00f067aa",
    ],
)
def test_a_malformed_header_counts_as_absent(header: str) -> None:
    with traced(header):
        assert current_trace_id() is None


def test_a_span_is_current_until_its_context_ends_also_in_tasks_that_outlive_it() -> None:
    span = Span(TRACE_ID, "00f067aa0ba902b7", sampled=True)
    with in_span(span):
        outlives = copy_context()
        assert current_span() is span
        assert current_trace_id() == TRACE_ID
        with traced(None):
            assert current_trace_id() == TRACE_ID
        assert outlives.run(current_span) is span
    assert current_span() is None
    assert outlives.run(current_span) is None


@pytest.mark.parametrize(("sampled", "flags"), [(True, "01"), (False, "00")])
def test_a_span_is_written_as_a_traceparent(*, sampled: bool, flags: str) -> None:
    assert str(Span(TRACE_ID, "00f067aa0ba902b7", sampled=sampled)) == f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"
