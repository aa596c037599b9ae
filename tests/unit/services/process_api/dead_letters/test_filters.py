"""Which letters a filter matches."""

from typing import Any

import pytest

from services.process_api.dead_letters.filters import LetterFilter, Matcher
from shared.errors import Malformed
from tests.unit.services.process_api.dead_letters.lettering import bad_line, letter, reject


def matches(**wanted: str) -> bool:
    return Matcher(LetterFilter.parse(wanted)).matches(letter())


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"pipeline": "orders"}, True),
        ({"pipeline": "orders@3f2a9c01"}, True),
        ({"pipeline": "orders@other"}, False),
        ({"pipeline": "order"}, False),
        ({"pipeline": ""}, False),
        ({"pipeline": "*"}, True),
        ({"source": "ord*"}, True),
        ({"source": "o*r*d*s"}, True),
        ({"source": "o*x*s"}, False),
        ({"source": "orders*s"}, False),
        ({"source": "rders*"}, False),
        ({"stage": "source"}, False),
        ({"error": "NO TOTAL"}, True),
        ({"error": "steps.*no*"}, True),
        ({"error": "no steps"}, False),
        ({"since": "2023-11-14T22:13:20Z"}, True),
        ({"since": "2023-11-14T22:13:21Z"}, False),
        ({"until": "2023-11-14T22:13:20Z"}, False),
        ({"until": "2023-11-15T00:13:21+02:00"}, True),
    ],
    ids=str,
)
def test_a_letter_must_have_what_the_filter_names(wanted: dict[str, str], expected: bool) -> None:
    assert matches(**wanted) is expected


def test_letters_of_no_pipeline_are_found_by_an_empty_name() -> None:
    none = LetterFilter.parse({"pipeline": ""})
    assert Matcher(none).matches(letter(bad_line()))
    assert not Matcher(none).matches(letter())


def test_a_pattern_with_many_stars_takes_linear_time() -> None:
    wanted = Matcher(LetterFilter.parse({"error": "*a" * 200}))
    assert not wanted.matches(letter(reject(error="a" * 199)))
    assert wanted.matches(letter(reject(error="a" * 2000)))


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"pipeline": 3}, "pipeline: expected text"),
        ({"error": "x" * 501}, "error: expected text of at most 500 characters"),
        ({"since": "yesterday"}, 'since: found "yesterday"; expected RFC 3339'),
        ({"until": "2026-01-01"}, "until: found .* no time zone"),
    ],
    ids=["number", "long", "word", "no-zone"],
)
def test_a_wrong_filter_says_what_was_expected(given: dict[str, Any], text: str) -> None:
    with pytest.raises(Malformed, match=text):
        LetterFilter.parse(given)


def test_a_filter_knows_whether_it_is_empty() -> None:
    assert LetterFilter.parse({"status": "open"}).empty
    assert not LetterFilter.parse({"pipeline": ""}).empty
