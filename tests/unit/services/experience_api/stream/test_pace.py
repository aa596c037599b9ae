import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.stream.pace import Pace


@pytest.mark.parametrize(("per_second", "at_once"), [(3.0, 3), (0.5, 1)])
def test_what_comes_at_once_waits_for_its_turn(per_second: float, at_once: int) -> None:
    pace = Pace(per_second, 100.0)
    waits = [pace.take(100.0) for _ in range(at_once + 2)]
    assert waits == pytest.approx([*[0.0] * at_once, 1 / per_second, 2 / per_second])
    assert pace.take(1000.0) == 0.0


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.2, 20))
def test_no_more_are_handled_than_permitted(pauses: list[float], per_second: float) -> None:
    pace, now, handled = Pace(per_second, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        now += pace.take(now)
        handled.append(now)
    for start, begin in enumerate(handled):
        for count, end in enumerate(handled[start:], 1):
            assert count <= max(1.0, per_second) + (end - begin) * per_second + 1e-6
