"""Times in SQLite in each format."""

from datetime import datetime, timedelta, timezone

import pytest

from services.system_api.sources.table.sqlite.times import Numbers, Texts
from services.system_api.sources.table.time_scale import float_of, order_of
from shared.errors import SettingsError

NOW = 1_700_000_000.75


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_numbers_of_every_unit(unit: int) -> None:
    latest = 1_700_000_123 * unit
    assert Numbers().written(NOW, latest) == int(NOW * unit)
    assert Numbers().rfc3339(latest) == b"2023-11-14T22:15:23.000Z"
    assert Numbers().text(latest) == f"{latest}"


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        (2_460_263.4273, NOW / 86_400 + 2_440_587.5),  # a Julian day
        (1_700_000_123.5, NOW),
        (1_700_000_123_500.0, NOW * 1000),
    ],
)
def test_real_numbers(latest: float, expected: float) -> None:
    numbers = Numbers(floating=True)
    assert float_of(numbers.written(NOW, latest)) == expected
    assert numbers.text(order_of(latest)) == f"{latest}"
    assert (numbers.rfc3339(order_of(latest)) or b"").startswith(b"2023-11-14T22:15:")
    assert numbers.rfc3339(order_of(float("inf"))) is None


def test_a_unit_of_the_settings_overrides_the_size() -> None:
    assert Numbers("milliseconds").written(5.0, 1) == 5000
    assert float_of(Numbers("seconds", floating=True).written(5.0, 1.0)) == 5.0


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        ("2023-11-14 22:13", "2023-11-14 22:13:20"),
        ("2023-11-14T22:13:20.123456Z", "2023-11-14T22:13:20"),
        ("2023-11-13", "2023-11-14"),
    ],
)
def test_texts_are_written_in_the_format_of_the_column(latest: str, expected: str) -> None:
    assert Texts("at").written(datetime.fromisoformat("2023-11-14T22:13:20.999"), latest) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2023-11-14 22:13", "2023-11-14T22:13:00"),
        ("2023-11-14T22:13:20.5+05:00", "2023-11-14T22:13:20.500000"),
        ("2023-11-14", "2023-11-14T00:00:00"),
        ("2023-11-14 22:13:20.123456789", "2023-11-14T22:13:20.123456"),
    ],
)
def test_the_local_time_of_a_text(value: str, expected: str) -> None:
    assert Texts("at").parsed(value).isoformat() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2023-11-14 22:13:20", b"2023-11-14T20:13:20.000Z"),
        ("2023-11-14T22:13:20.5Z", b"2023-11-14T22:13:20.500Z"),
        ("2023-11-14 22:13 o'clock", None),
    ],
)
def test_the_time_of_a_row(value: str, expected: bytes | None) -> None:
    assert Texts("at", timezone(timedelta(hours=2))).rfc3339(value) == expected


@pytest.mark.parametrize("value", ["soon", "2023-13-14 22:13"])
def test_text_that_is_not_a_time(value: str) -> None:
    with pytest.raises(SettingsError, match=f"column 'at' holds '{value}'"):
        Texts("at").parsed(value)
