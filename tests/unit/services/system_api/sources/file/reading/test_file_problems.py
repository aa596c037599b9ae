"""A problem with one file is logged when it begins and when it is over, and concerns no other file."""

import logging

import pytest

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.file_problems import FileProblems, shown

FILE = FileStat("in/a.csv", 1, 2, 100, 5)
OTHER = FileStat("in/b.csv", 1, 3, 100, 5)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, object, object]]:
    return [
        (record.message, getattr(record, "path", None), getattr(record, "error", None)) for record in caplog.records
    ]


def test_a_problem_has_one_line_when_it_begins_and_one_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problems = FileProblems("orders")
    for _ in range(3):
        problems.note(FILE, "in/a.csv: Permission denied", unusable=False)
    assert problems.texts == ["in/a.csv: Permission denied"]
    for _ in range(2):
        problems.clear(FILE)
    assert problems.texts == []
    assert logged(caplog) == [
        ("cannot read file; reading the other files", "in/a.csv", "in/a.csv: Permission denied"),
        ("file is readable again", "in/a.csv", None),
    ]
    assert caplog.records[0].__dict__["source"] == "orders"


def test_a_problem_is_forgotten_with_its_file(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problems = FileProblems("orders")
    problems.note(FILE, "in/a.csv: header: empty", unusable=True)
    problems.forget(OTHER.inode)
    assert problems.texts
    problems.forget(FILE.inode)
    assert not problems.texts
    assert not problems.unusable(FILE)
    assert logged(caplog)[1:] == [("unreadable file is gone", None, "in/a.csv: header: empty")]


def test_an_unusable_file_stays_unusable_until_it_changes() -> None:
    problems = FileProblems("orders")
    problems.note(OTHER, "in/b.csv: Permission denied", unusable=False)
    problems.note(FILE, "in/a.csv: header: empty", unusable=True)
    assert problems.unusable(FILE)
    assert not problems.unusable(FILE._replace(mtime=6))
    assert not problems.unusable(OTHER)


def test_a_file_whose_name_is_not_utf8_is_left_out_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    problems = FileProblems("orders")
    strange = OTHER._replace(path="in/\udcff.csv")
    for _ in range(2):
        assert problems.decodable(FILE)
        assert not problems.decodable(strange)
    assert problems.texts == ["b'in/\\xff.csv': not read: its name is not UTF-8; rename it"]
    assert logged(caplog) == [("file name is not UTF-8; file not read", "b'in/\\xff.csv'", None)]
    assert problems.decodable(OTHER)
    assert not problems.texts
    assert not problems.decodable(strange)
    problems.forget(strange.inode)
    assert not problems.texts


def test_of_many_problems_the_first_are_shown() -> None:
    assert shown(["b", "a"]) == ("a", "b")
    many = shown([f"{number:03}" for number in range(150)])
    assert (len(many), many[99:]) == (101, ("099", "and 50 more problems like these"))


def test_files_that_may_be_readable_later_are_tried_again() -> None:
    problems = FileProblems("orders")
    problems.note(OTHER, "in/b.csv: Permission denied", unusable=False)
    problems.note(FILE, "in/a.csv: header: empty", unusable=True)
    assert problems.failed == [OTHER.inode]
