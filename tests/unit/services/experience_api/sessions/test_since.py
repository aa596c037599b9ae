import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.refusals import MALFORMED, Refused
from services.experience_api.sessions.since import read_since

NOW = 1_767_323_045.0  # 2026-01-02T03:04:05Z


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("earliest", 0.0),
        ("90s", NOW - 90),
        ("15m", NOW - 900),
        ("2h", NOW - 7200),
        ("7d", NOW - 7 * 86_400),
        ("999999999d", 0.0),
        ("2026-01-02T03:04:05Z", NOW),
        ("2026-01-02T04:04:05+01:00", NOW),
        ("2026-01-02T04:04:05 01:00", NOW),
        ("2026-01-02T03:04:05.5Z", NOW + 0.5),
        ("1960-01-01T00:00:00Z", 0.0),
    ],
)
def test_a_time_is_read(text: str, expected: float) -> None:
    assert read_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "now", "15", "m", "-5m", "1.5h", "2026-01-02", "2026-01-02T03:04:05", "\u0661m"])
def test_another_text_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(Refused, match="expected 'earliest', a duration") as refused:
        read_since(text, NOW)
    assert refused.value.refusal is MALFORMED


@given(st.text())
def test_hostile_texts_are_read_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        assert read_since(text, NOW) >= 0
