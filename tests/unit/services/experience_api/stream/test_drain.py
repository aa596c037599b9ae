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
