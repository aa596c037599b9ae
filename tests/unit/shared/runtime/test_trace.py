import pytest

from shared.runtime.trace import current_trace_id, traced

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
