"""Settings become readers: the formats are tested with files in `test_document_files`."""

import gzip
import logging
from pathlib import Path

import pytest

from services.system_api.sources.file.formats import line_format
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.ndjson import Ndjson
from tests.unit.services.system_api.sources.file.file_poller import FilePoller


def options(**given: object) -> FileSourceOptions:
    return FileSourceOptions.model_validate({"kind": "file", "type": "t", "subject": "id", "mode": "drop", **given})


def test_a_format_of_lines_has_its_reader() -> None:
    assert isinstance(line_format(options(path="a.ndjson")), Ndjson)
    assert isinstance(line_format(options(path="a.csv.gz")), Csv)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"path": "a.ndjson"}, None),
        ({"path": "a.csv", "encoding": "latin-1"}, None),
        ({"path": "a.json"}, "a file of format json"),
        ({"path": "a.csv.gz"}, "a file compressed by gzip"),
        ({"path": "a.csv.gz", "compression": "none"}, None),
        ({"path": "a.csv", "encoding": "utf-16"}, "a file in utf-16"),
        ({"path": "a.csv", "encoding": "big5", "csv": {"delimiter": "|"}}, "a file in big5"),
        ({"path": "a.csv", "encoding": "big5", "csv": {"delimiter": "auto"}}, "a file in big5"),
    ],
)
def test_a_file_that_cannot_be_read_by_lines_is_a_document(given: dict[str, object], reason: str | None) -> None:
    assert options(**given).document_reason == reason
    if reason is not None:
        with pytest.raises(ValueError, match=f"mode: {reason} can only be read as a whole; set mode: drop"):
            options(**{**given, "mode": "tail"})


async def test_a_delimiter_that_is_found_is_logged_and_kept_in_the_position(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "stock.csv"
    path.write_text("id;price, EUR\n1;2,5\n")
    poller = FilePoller(path, csv={"delimiter": "auto"})
    assert await poller.drain_reopened() == [{"id": "1", "price, EUR": "2,5"}]
    (position,) = poller.files.values()
    assert position["delimiter"] == ";"
    with path.open("a") as file:
        file.write("2;3,5\n")
    assert await poller.drain_reopened() == [{"id": "2", "price, EUR": "3,5"}]
    (position,) = poller.files.values()
    assert position["delimiter"] == ";"
    (logged, *_) = [record for record in caplog.records if record.message == "found csv delimiter"]
    assert (vars(logged)["source"], vars(logged)["delimiter"], vars(logged)["row"]) == ("files", ";", "id;price, EUR")


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
async def test_a_file_whose_delimiter_is_not_clear_is_a_problem_and_the_others_are_read(
    tmp_path: Path, suffix: str
) -> None:
    pack = gzip.compress if suffix.endswith("gz") else bytes
    (tmp_path / f"a.{suffix}").write_bytes(pack(b"id\n1\n"))
    (tmp_path / f"b.{suffix}").write_bytes(pack(b"id|x\n2|y\n"))
    poller = FilePoller(tmp_path / f"*.{suffix}", mode="drop", drop={"stable_seconds": 0}, csv={"delimiter": "auto"})
    assert await poller.drain_reopened() == [{"id": "2", "x": "y"}]
    (problem,) = poller.problems
    assert problem.startswith(f"{tmp_path}/a.{suffix}: ")
    assert "csv.delimiter: found 'id' in the first row; expected a comma, semicolon, tab or bar" in problem
    assert poller.rejects == []
