"""Where the first value is that strict readers refuse."""

import pytest

from shared.events.json_faults import find_fault


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ('{"a":{"b":[1,{"c":2},NaN]}}', "a.b[2], byte 21"),
        ('[[1,2],{"x":3},[4,1e400]]', "[2][1], byte 18"),
        ('{"first name":NaN}', "`first name`, byte 14"),
        ('{"":NaN}', "``, byte 4"),
        ('{"a":1}NaN', "byte 7"),
        ("{NaN", "byte 1"),
        ("]]NaN", "byte 2"),
        ('{"' + "n" * 100 + ' x":NaN}', f"`{'n' * 40}… (102 characters)`, byte 106"),
        ("[" * 20 + "NaN", "[0][0][0][0][0][0][0][0]…, byte 20"),
    ],
)
def test_the_place_is_a_path_and_a_byte(document: str, place: str) -> None:
    fault = find_fault(document.encode(), 100)
    assert fault is not None
    assert fault.startswith(f"{place}: found ")


@pytest.mark.parametrize(
    "document", ["", "1.2.3", "nonsense", r'"\ud83d\ude00 \\ud83d \" \u0041"', "[" * 100, "0." + "1" * 400, "-", "true"]
)
def test_other_errors_are_not_found(document: str) -> None:
    assert find_fault(document.encode(), 100) is None


@pytest.mark.parametrize("text", [r"\ud83d\ud83d\ude00", r"\ud83d\n", r"\ud83d", r"\ud83d \ude00", r"\ude00\ud83d"])
def test_half_a_pair_is_found(text: str) -> None:
    fault = find_fault(f'"{text}"'.encode(), 100)
    assert fault is not None
    assert "lone surrogate" in fault
