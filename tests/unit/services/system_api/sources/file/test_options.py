"""The settings of a file source: what they accept and refuse."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.system_api.sources.file.options import After, FileSourceOptions

MINIMUM = {"kind": "file", "path": "in/orders.ndjson", "type": "order.updated", "subject": "id"}


def test_four_settings_are_enough() -> None:
    options = FileSourceOptions.model_validate(MINIMUM)
    assert (options.mode, options.known_format, options.channel) == ("tail", "ndjson", None)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"path": "in/orders.txt"}, "set format: ndjson, csv"),
        ({"path": "in/*"}, "set format: ndjson, csv"),
        ({"path": "in/data"}, r"found no extension in 'in/data'; expected \.ndjson, .*; or set format"),
        ({"path": "in/orders.txt"}, "found the extension '.txt' in 'in/orders.txt'; expected "),
        ({"path": "in/[ab.csv"}, r"'\[' is not closed in '\[ab\.csv'; .* write '\[\[\]'"),
        ({"path": "in/[a]b[.csv"}, "is not closed"),
        ({"path": "in/[]/x.csv"}, "is not closed"),
        ({"path": "in/[!]/x.csv"}, "is not closed"),
        ({"path": "in/[a/b].csv"}, "is not closed"),
        (
            {"path": "/srv/in/", "format": "csv"},
            r"found the folder /srv/in/; expected its files, such as .*\*\.csv",
        ),
        ({"rotated": "/srv/old/"}, "found the folder /srv/old/"),
        ({"path": "~/in/*.csv"}, "'~' is no folder here; write './~' for the name"),
        ({"path": "~shop/in/*.csv"}, "'~' is no folder here"),
        ({"path": "in/*.{csv,tsv}", "format": "csv"}, r"found braces in 'in/\*\.{csv,tsv}', which are no wildcard"),
        ({"path": "in/a.csv", "csv": {"columns": ["n", "t"]}}, "csv: there is no field 'id'; found n, t"),
        ({"path": "in/a.csv", "csv": {"columns": ["id"]}, "time": "at"}, "csv: there is no field 'at'; found id"),
        ({"csv": {"delimiter": ";"}}, "csv: the format is ndjson"),
        ({"drop": {"after": "delete"}}, "the mode is tail; set mode: drop"),
        (
            {"mode": "drop", "drop": {"archive": "in"}},
            "drop.archive: found the folder of path; expected another folder",
        ),
        ({"mode": "drop", "rotated": "old/*"}, "rotated: the mode is drop"),
        ({"time": "id"}, "one is inside the other"),
        ({"subject": "order.id", "time": "order"}, "one is inside the other"),
        ({"format": "csv", "csv": {"header": False}}, "name the columns"),
        ({"format": "csv", "csv": {"delimiter": '"'}}, "which is the delimiter or the escape"),
        ({"format": "csv", "csv": {"delimiter": "é"}}, "delimiter"),
        ({"format": "csv", "csv": {"columns": ["a", "a"]}}, "found a name twice"),
        ({"format": "csv", "csv": {"columns": ["a"], "types": {"b": "integer"}}}, "there is no column 'b'"),
        ({"subjekt": "id"}, "subjekt"),
        ({"line_limit": 10_000_000}, "line_limit"),
    ],
)
def test_invalid_settings_are_refused(given: dict[str, object], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        FileSourceOptions.model_validate(MINIMUM | given)


@pytest.mark.parametrize(
    "path",
    [
        "[ab].csv",
        "[!ab].csv",
        "[]].csv",
        "[!]].csv",
        "[[].csv",
        "a]b.csv",
        "[a-c]/[x].csv",
        "~$a.csv",
        "{a}.csv",
        "[{]a,b}.csv",
        "{a/b,c}.csv",
    ],
)
def test_a_class_that_is_closed_and_a_name_that_only_looks_special_are_fine(path: str) -> None:
    assert FileSourceOptions.model_validate(MINIMUM | {"path": path}).path == path


def test_a_folder_whose_name_is_a_tilde_can_be_named() -> None:
    assert FileSourceOptions.model_validate(MINIMUM | {"path": "./~/a.csv"}).path == "~/a.csv"


def test_the_folder_of_the_settings_is_not_checked_as_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "a[b"
    options = FileSourceOptions.model_validate(MINIMUM | {"path": "*.csv"}, context={"folder": folder})
    assert options.path == str(tmp_path / "a[[]b" / "*.csv")


def test_a_dropped_csv_file() -> None:
    options = FileSourceOptions.model_validate(
        MINIMUM | {"path": "in/*.CSV", "mode": "drop", "drop": {"after": "archive"}, "csv": {"types": {"n": "number"}}}
    )
    assert (options.known_format, options.drop.after) == ("csv", After.ARCHIVE)
