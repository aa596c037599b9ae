"""Lines by a pattern, and fields of fixed width."""

import json
import re
from typing import Any

import pytest

from services.system_api.sources.file.parsing.columns import ColumnType
from services.system_api.sources.file.parsing.parser import Format
from services.system_api.sources.file.parsing.text_lines import FixedWidthLines, PatternLines
from shared.errors import Malformed
from tests.unit.services.system_api.sources.file.parsing.test_parser import parse

ACCESS = re.compile(r"(?P<client>\S+) (?P<status>\d+)(?: (?P<size>\d+))?")
PATTERN = PatternLines(ACCESS, "client", None, {"status": ColumnType.INTEGER})
PLACES = {"id": (1, 3), "name": (4, 8), "n": (9, 12)}
FIXED = FixedWidthLines(PLACES, "id", None, {"n": ColumnType.NUMBER})


def read(form: Format, line: str) -> Any:
    subject, data, _ = form.read(form.prepare(line.encode()))
    return subject, json.loads(data)


def test_the_named_groups_are_the_fields() -> None:
    assert read(PATTERN, "é 200 17") == ("é", {"client": "é", "status": 200, "size": "17"})
    assert read(PATTERN, "a 404") == ("a", {"client": "a", "status": 404, "size": None})


@pytest.mark.parametrize("line", ["", "a", "a 200 17 more", " a 200"])
def test_a_line_that_does_not_match_as_a_whole_is_an_error(line: str) -> None:
    with pytest.raises(Malformed, match="the line does not match the pattern"):
        read(PATTERN, line)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("001Zoë  12.5", {"id": "001", "name": "Zoë", "n": 12.5}),
        ("001Zoë", {"id": "001", "name": "Zoë", "n": None}),
        ("  1 a b     ", {"id": "1", "name": "a b", "n": None}),
        ("001abcde0001x", None),
    ],
)
def test_fields_are_at_their_places(line: str, values: Any) -> None:
    if values is None:
        with pytest.raises(Malformed, match="column 'n': found '0001'"):
            read(FIXED, line)
    else:
        assert read(FIXED, line) == (values["id"], values)


def test_lines_at_the_beginning_are_skipped_whatever_they_hold() -> None:
    form = PatternLines(ACCESS, "client", None, {}, skip_lines=2)
    parser, batch = parse(form, b'"open\n\nabc 200\nx\n')
    assert [json.loads(record.value or b"")["data"]["client"] for record in batch.records] == ["abc"]
    assert [reject.error for reject in batch.rejects] == [
        "in/a.ndjson, line 4, bytes 15-15: the line does not match the pattern"
    ]
    assert parser.line == 4
