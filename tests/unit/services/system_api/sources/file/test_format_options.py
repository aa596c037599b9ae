"""What extensions and names of encodings stand for."""

import re

import pytest
from pydantic import TypeAdapter, ValidationError

from services.system_api.sources.file.documents.content import Compression
from services.system_api.sources.file.format_options import (
    Encoding,
    TextOptions,
    compression_of,
    format_of,
    keeps_ascii,
)

encoding = TypeAdapter(Encoding).validate_python


@pytest.mark.parametrize(
    ("path", "form", "compression"),
    [
        ("a.ndjson", "ndjson", Compression.NONE),
        ("in/*.CSV.GZ", "csv", Compression.GZIP),
        ("a.json.zst", "json", Compression.ZSTD),
        ("a.jsonl.bz2", "ndjson", Compression.BZIP2),
        ("*.csv.zip", "csv", Compression.ZIP),
    ],
)
def test_an_extension_stands_for_a_format_and_a_compression(path: str, form: str, compression: Compression) -> None:
    assert (format_of(path), compression_of(path)) == (form, compression)


@pytest.mark.parametrize("path", ["a", "a.gz", "a.dat", "*.log.gz"])
def test_an_unknown_extension_is_an_error_that_names_the_known_ones(path: str) -> None:
    with pytest.raises(ValueError, match=r"format: found .*; expected \.ndjson, .*; or set format: ndjson, csv"):
        format_of(path)


@pytest.mark.parametrize(
    ("written", "name"), [("UTF8", "utf-8"), ("utf_8_sig", "utf-8"), ("Latin-1", "iso8859-1"), ("u16", "utf-16")]
)
def test_an_encoding_has_one_name(written: str, name: str) -> None:
    assert encoding(written) == name


@pytest.mark.parametrize(
    "written",
    ["utf-9", "base64", "rot13", "punycode", "idna", "undefined", "unicode_escape", "utf-8\0", "x" * 100, ""],
)
def test_what_is_no_encoding_of_text_is_an_error(written: str) -> None:
    with pytest.raises(ValidationError, match="expected one such as 'latin-1', 'cp1252' or 'utf-16'"):
        encoding(written)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("(?P<id>x", "found '\\(\\?P<id>x'; expected a regular expression of Python: missing \\)"),
        ("(?<id>x)", "unknown extension \\?<i at position 1; a named group is written \\(\\?P<name>…\\)"),
        ("(?P<id>x)(?<=", "missing \\), unterminated subpattern at position 9$"),
        ("x", "found no named group"),
        (7, "expected|should be"),
    ],
)
def test_a_pattern_that_is_none_says_why(pattern: object, error: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TextOptions.model_validate({"pattern": pattern})
    (found,) = caught.value.errors()
    assert re.search(error, found["msg"])


@pytest.mark.parametrize(
    ("name", "separator", "kept"),
    [
        ("utf-8", "|", True),
        ("cp1252", "|", True),
        ("shift_jis", ",", True),
        ("shift_jis", "|", False),
        ("gb18030", "\t", True),
        ("utf-16", ",", False),
        ("utf-32", "", False),
        ("cp037", "", False),
        ("iso2022_jp", "", False),
        ("utf-7", "", False),
    ],
)
def test_some_encodings_can_be_split_before_they_are_decoded(name: str, separator: str, kept: bool) -> None:
    assert keeps_ascii(encoding(name), separator) == kept
