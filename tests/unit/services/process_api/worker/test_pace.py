"""Slow records are run one by one."""

from services.process_api.worker.pace import MANY, Pace


def test_many_at_once_while_all_is_well() -> None:
    pace = Pace()
    for _ in range(100):
        assert not pace.ran(0.01)
    assert pace.slice == MANY


def test_one_by_one_after_a_slow_go_and_for_long() -> None:
    pace = Pace()
    assert pace.ran(8.0)
    for _ in range(9_999):
        assert pace.slice == 1
        pace.ran(0.0001)
    pace.ran(0.0001)
    assert pace.slice == MANY


def test_another_slow_one_begins_anew() -> None:
    pace = Pace()
    pace.ran(8.0)
    for _ in range(9_000):
        pace.ran(0.0001)
    pace.ran(1.0)
    for _ in range(9_000):
        pace.ran(0.0001)
    assert pace.slice == 1
