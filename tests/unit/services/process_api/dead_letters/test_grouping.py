"""Letters are counted by what went wrong."""

from services.process_api.dead_letters.grouping import Groups
from tests.unit.services.process_api.dead_letters.lettering import bad_line, letter, reject


def test_letters_of_one_cause_are_one_group() -> None:
    groups = Groups()
    for number in range(3):
        error = f"line {number}: found 3 fields"
        groups.add(letter(reject(number, error=error), offset=number, timestamp=1_700_000_000_000 - 1000 * number))
    groups.add(letter(bad_line(), offset=9))
    first, second = groups.shown()["groups"]
    assert first == {
        "stage": "pipeline",
        "source": "orders",
        "pipeline": "orders",
        "error": "line *: found * fields",
        "count": 3,
        "oldest": "2023-11-14T22:13:18.000Z",
        "newest": "2023-11-14T22:13:20.000Z",
        "example": "0-2",
    }
    assert (second["source"], second["count"], groups.shown()["total"]) == ("files", 1, 4)


def test_there_are_not_too_many_groups() -> None:
    groups = Groups()
    for number in range(1002):
        groups.add(letter(reject(error="x" * (number % 150) + "y" * (number // 150))))
    shown = groups.shown()
    assert (len(shown["groups"]), shown["ungrouped"], shown["total"]) == (1000, 2, 1002)


def test_groups_that_are_merged_are_those_of_all_their_letters() -> None:
    letters = [
        letter(reject(error=f"x{'y' * (number % 1005)}"), offset=number, timestamp=1_700_000_000_000 - number)
        for number in range(1100)
    ]
    whole, merged = Groups(), Groups()
    for begin in range(0, 1100, 100):
        part = Groups()
        for each in letters[begin : begin + 100]:
            whole.add(each)
            part.add(each)
        merged.merge(part)
    assert merged.shown() == whole.shown()
    assert merged.total == 1100
