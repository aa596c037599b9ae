import random

import pytest

from services.experience_api.stream.drain import DrainOptions, waves

OPTIONS = DrainOptions(wave=100, pause=0.5)


@pytest.mark.parametrize(
    ("count", "within", "sizes"),
    [
        (0, 10.0, []),
        (50, 10.0, [50]),
        (250, 10.0, [100, 100, 50]),
        (5000, 10.0, [500] * 10),  # ten waves in half of the ten seconds
        (300, 0.1, [300]),
    ],
)
def test_waves_are_as_small_as_time_allows(count: int, within: float, sizes: list[int]) -> None:
    found = list(waves(range(count), within, OPTIONS, random.Random(1)))
    assert [len(wave) for wave in found] == sizes
    assert sorted(item for wave in found for item in wave) == list(range(count))


def test_the_order_is_random() -> None:
    orders = {tuple(next(waves(range(10), 10.0, OPTIONS, random.Random(seed)))) for seed in range(20)}
    assert len(orders) > 10


@pytest.mark.parametrize(("count", "seconds"), [(0, 0.0), (1, 0.005), (250, 1.25), (800, 4.0), (5000, 4.0)])
def test_subscribers_reconnect_at_a_rate_that_others_can_take(count: int, seconds: float) -> None:
    """A few are away for a moment only; many are spread over no longer than the limit."""
    assert DrainOptions().spread_of(count) == pytest.approx(seconds)
