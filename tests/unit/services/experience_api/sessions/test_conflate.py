import pytest

from services.experience_api.refusals import MALFORMED, Refused
from services.experience_api.sessions.conflate import read_conflate


@pytest.mark.parametrize(
    ("text", "seconds"), [("100ms", 0.1), ("500ms", 0.5), ("2s", 2.0), ("60s", 60.0), ("1m", 60.0)]
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert read_conflate(text, "body:") == seconds


@pytest.mark.parametrize("text", ["", "500", "99ms", "61s", "2m", "1h", "-1s", "0.5s", "500ms ", "\u0661s", "9" * 50])
def test_another_text_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(Refused, match=r"query parameter 'conflate': found .*; expected a duration") as refused:
        read_conflate(text, "query parameter")
    assert refused.value.refusal is MALFORMED
