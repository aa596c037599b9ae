"""How large slices are."""

from services.process_api.worker.pace import FULL_SLICE, Pace


def test_slices_are_full_while_they_are_quick() -> None:
    pace = Pace()
    for _ in range(100):
        assert not pace.note(0.01)
    assert pace.slice == FULL_SLICE


def test_records_run_one_by_one_after_a_slow_slice() -> None:
    pace = Pace()
    assert pace.note(8.0)
    for _ in range(9_999):
        assert pace.slice == 1
        pace.note(0.0001)
    pace.note(0.0001)
    assert pace.slice == FULL_SLICE


def test_another_slow_slice_starts_the_count_again() -> None:
    pace = Pace()
    pace.note(8.0)
    for _ in range(9_000):
        pace.note(0.0001)
    pace.note(1.0)
    for _ in range(9_000):
        pace.note(0.0001)
    assert pace.slice == 1
