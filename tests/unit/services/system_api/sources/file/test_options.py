"""What may be said of a file source, and what is wrong with the rest."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.system_api.sources.file.options import After, FileSourceOptions

LEAST = {"kind": "file", "path": "in/orders.ndjson", "type": "order.updated", "subject": "id"}


def test_one_line_is_enough() -> None:
    options = FileSourceOptions.model_validate(LEAST)
    assert (options.mode, options.known_format, options.channel) == ("tail", "ndjson", None)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"path": "in/orders.txt"}, "set format: ndjson or format: csv"),
        ({"path": "in/*"}, "set format: ndjson or format: csv"),
        ({"path": "in/data"}, r"the ending of 'in/data' is none of \.ndjson, \.jsonl and \.csv; set format"),
        ({"path": "in/orders.txt"}, "the ending '.txt' of 'in/orders.txt' is none of"),
        ({"path": "in/[ab.csv"}, r"'\[' is not closed in '\[ab\.csv'; .* write '\[\[\]'"),
        ({"path": "in/[a]b[.csv"}, "is not closed"),
        ({"path": "in/[]/x.csv"}, "is not closed"),
        ({"path": "in/[!]/x.csv"}, "is not closed"),
        ({"path": "in/[a/b].csv"}, "is not closed"),
        ({"csv": {"delimiter": ";"}}, "csv: the format is ndjson"),
        ({"drop": {"after": "delete"}}, "the mode is tail; set mode: drop"),
        ({"time": "id"}, "one leads through the other"),
        ({"subject": "order.id", "time": "order"}, "one leads through the other"),
        ({"format": "csv", "csv": {"header": False}}, "name the columns"),
        ({"format": "csv", "csv": {"delimiter": '"'}}, "the delimiter is the quote"),
        ({"format": "csv", "csv": {"delimiter": "é"}}, "delimiter"),
        ({"format": "csv", "csv": {"columns": ["a", "a"]}}, "a name comes twice"),
        ({"format": "csv", "csv": {"columns": ["a"], "types": {"b": "integer"}}}, "there is no column 'b'"),
        ({"subjekt": "id"}, "subjekt"),
        ({"line_limit": 10_000_000}, "line_limit"),
    ],
)
def test_what_does_not_fit_is_said(given: dict[str, object], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        FileSourceOptions.model_validate(LEAST | given)


@pytest.mark.parametrize(
    "path", ["[ab].csv", "[!ab].csv", "[]].csv", "[!]].csv", "[[].csv", "a]b.csv", "[a-c]/[x].csv"]
)
def test_a_class_that_is_closed_is_fine(path: str) -> None:
    assert FileSourceOptions.model_validate(LEAST | {"path": path}).path == path


def test_the_folder_of_the_settings_is_not_looked_into(tmp_path: Path) -> None:
    folder = tmp_path / "a[b"
    options = FileSourceOptions.model_validate(LEAST | {"path": "*.csv"}, context={"folder": folder})
    assert options.path == str(folder / "*.csv")


def test_all_that_belongs_to_a_dropped_csv() -> None:
    options = FileSourceOptions.model_validate(
        LEAST | {"path": "in/*.CSV", "mode": "drop", "drop": {"after": "archive"}, "csv": {"types": {"n": "number"}}}
    )
    assert (options.known_format, options.drop.after) == ("csv", After.ARCHIVE)
