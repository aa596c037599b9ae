import pytest

from shared.settings.quantities import example, unit_of


@pytest.mark.parametrize(
    ("name", "description", "unit"),
    [
        ("interval", "Seconds between polls.", "seconds"),
        ("first_wait", "Seconds: the longest it may be.", "seconds"),
        ("lease_seconds", "How long.", "seconds"),
        ("retention_hours", "How long.", "hours"),
        ("expires_after_days_disconnected", "", "days"),
        ("limit", "Bytes of the largest.", "bytes"),
        ("failures_per_second", "How fast.", None),
        ("attempts", "How often.", None),
        ("port", "", None),
    ],
)
def test_the_unit_is_that_of_the_name_or_the_description(name: str, description: str, unit: str | None) -> None:
    assert unit_of(name, description) == unit


@pytest.mark.parametrize(
    ("unit", "written", "number"),
    [
        ("seconds", "5s", "5"),
        ("seconds", " 1.5 min ", "90"),
        ("seconds", "250ms", "0.25"),
        ("seconds", "5 fortnights", "7"),
        ("seconds", "soon", "7"),
        ("seconds", 7.5, "7"),
        ("hours", "90m", "1.5"),
        ("days", "2 weeks", "14"),
        ("bytes", "64KiB", "65536"),
        ("bytes", "1g", "1000000000"),
        ("bytes", "512b", "512"),
    ],
)
def test_the_example_is_the_intended_value(unit: str, written: object, number: str) -> None:
    assert example(unit, written, 7, whole=False) == number


def test_without_a_default_there_is_an_example_still() -> None:
    assert example("seconds", "soon", None, whole=True) == "5"
    assert example("bytes", "1.0004kb", None, whole=True) == "1000"
