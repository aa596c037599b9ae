"""Times in queries."""

from typing import Any

import pytest

from services.system_api.sources.http.polling.times import written


@pytest.mark.parametrize(
    ("form", "text"),
    [("rfc3339", "2027-01-15T08:00:00Z"), ("unix", "1800000000"), ("unix_ms", "1800000000999"), ("date", "2027-01-15")],
)
def test_times_are_written_rounded_down(form: Any, text: str) -> None:
    assert written(1_800_000_000_999_999, form) == text
