"""Static tables."""

import json
from pathlib import Path

import pytest

from services.process_api.pipeline.steps.lookup.table import read_table


def read(tmp_path: Path, name: str, content: bytes, key_column: str | None = None) -> dict[str, object]:
    path = tmp_path / name
    path.write_bytes(content)
    return {key: json.loads(value) for key, value in read_table(path, key_column).items()}


@pytest.mark.parametrize(
    ("name", "content", "key", "expected"),
    [
        ("a.csv", b"id,name\n1,Ada\n2,Bob\n", None, {"1": {"id": "1", "name": "Ada"}, "2": {"id": "2", "name": "Bob"}}),
        ("a.csv", b"\xef\xbb\xbfid,name\r\n1,Ada\r\n", "name", {"Ada": {"id": "1", "name": "Ada"}}),
        ("a.csv", b"", None, {}),
        ("a.json", b'[{"id": 1.0, "n": 12345678901234567890}]', None, {"1": {"id": 1.0, "n": 12345678901234567890}}),
        ("a.json", b'[{"id": 1, "n": "x"}]', "n", {"x": {"id": 1, "n": "x"}}),
        ("a.json", b"[]", None, {}),
        ("a.json", b' {"eu": "Europe", "us": {"a": 1}}', None, {"eu": "Europe", "us": {"a": 1}}),
    ],
)
def test_a_table_is_read(
    tmp_path: Path, name: str, content: bytes, key: str | None, expected: dict[str, object]
) -> None:
    assert read(tmp_path, name, content, key) == expected


@pytest.mark.parametrize(
    ("name", "content", "key", "reason"),
    [
        ("a.csv", b"id,name\n1\n", None, "line 2: expected 2 fields"),
        ("a.csv", b"id,name\n1,2,3\n", None, "line 2: expected 2 fields"),
        ("a.csv", b"id\n1\n", "name", "found no 'name' among id"),
        ("a.csv", b"\xff", None, "utf-8"),
        ("a.csv", b'id\n"1', None, "unexpected end"),
        ("a.json", b"[1]", None, "expected an array of objects"),
        ("a.json", b'[{"id": 1}, {"n": 1}]', None, "item 1 has no member 'id'"),
        ("a.json", b"x", None, "expected an array of objects"),
        ("a.json", b'{"a": 1e400}', None, "found the number 1e400"),
        ("a.json", b'[{"id": "a", "n": 1e400}]', None, "found the number 1e400"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: bytes, key: str | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, name, content, key)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        read_table(tmp_path / "none.csv", None)
    monkeypatch.setattr("services.process_api.pipeline.steps.lookup.table._LIMIT", 3)
    with pytest.raises(ValueError, match="larger than 3 bytes"):
        read(tmp_path, "a.csv", b"id\n1\n")
