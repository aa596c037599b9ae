"""Settings become readers: the formats are tested with files in `test_document_files`."""

import pytest

from services.system_api.sources.file.formats import line_format
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.ndjson import Ndjson


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
    ],
)
def test_a_file_that_cannot_be_read_by_lines_is_a_document(given: dict[str, object], reason: str | None) -> None:
    assert options(**given).document_reason == reason
    if reason is not None:
        with pytest.raises(ValueError, match=f"mode: {reason} can only be read as a whole; set mode: drop"):
            options(**{**given, "mode": "tail"})
