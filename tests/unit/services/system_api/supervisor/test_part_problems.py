"""Each problem of a part has one notice when it begins and one when it is over."""

import pytest

from services.system_api.supervisor.part_problems import MAX_PARTS, OTHERS, PartProblems, split


@pytest.mark.parametrize(
    ("problem", "part", "reason"),
    [
        ("a.csv: Permission denied", "a.csv", "Permission denied"),
        ("in/2024-01-02.csv: header: column id is missing", "in/2024-01-02.csv", "header: column id is missing"),
        ("12 rows have no valid key", "… rows have no …", "12 rows have no valid key"),
        ("slow", "slow", "slow"),
        ("cannot search for 3 rows: timeout", "cannot search for … rows", "timeout"),
        ("early_limit (10000) rows: 12.5 s", "early_limit (…) rows", "12.5 s"),
    ],
)
def test_the_part_of_a_problem_is_the_same_whatever_number_changes(problem: str, part: str, reason: str) -> None:
    assert split(problem) == (part, reason)


def test_a_text_that_changes_is_the_same_problem() -> None:
    problems = PartProblems()
    assert len(problems.note(["the clock is 1.5 s behind the rows"])) == 1
    for seconds in range(2, 50):
        assert problems.note([f"the clock is {seconds} s behind the rows"]) == []
    assert problems.texts == ("the clock is 49 s behind the rows",)
    assert [notice.begun for notice in problems.note([])] == [False]


def test_files_whose_names_differ_in_a_number_are_different_parts() -> None:
    problems = PartProblems()
    assert len(problems.note(["in/1.csv: no header", "in/2.csv: no header"])) == 2


def test_problems_are_taken_over_and_forgotten_without_a_notice() -> None:
    problems = PartProblems()
    problems.adopt(["a.csv: no header"])
    assert problems.noticed == {"a.csv": "no header"}
    problems.forget()
    assert problems.note([]) == []


def test_beyond_a_bound_parts_share_a_notice_and_those_that_had_one_keep_it() -> None:
    problems = PartProblems()
    problems.note(["z.csv: no header"])
    many = [f"{number:04}.csv: no header" for number in range(1000)]
    begun = problems.note([*many, "z.csv: no header"])
    assert len(begun) == MAX_PARTS
    assert begun[-1] == (True, OTHERS, "981 more have problems; GET /sources lists them")
    assert problems.note([*many[:-1], "z.csv: no header"]) == [], "another number is no news"
    over = problems.note(["z.csv: no header"])
    assert {notice.begun for notice in over} == {False}
    assert len(over) == MAX_PARTS
