"""Lines in UTF-8 and in other encodings."""

import pytest

from services.system_api.sources.file.parsing.decoding import line_text
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("line", "encoding", "text"),
    [("é\r".encode(), "utf-8", "é"), (b"\xe9", "latin-1", "é"), (b"", "utf-8", ""), (b"a\rb", "utf-8", "a\rb")],
)
def test_a_line_becomes_utf_8_without_its_end(line: bytes, encoding: str, text: str) -> None:
    assert line_text(line, encoding) == text.encode()


@pytest.mark.parametrize(
    ("line", "encoding", "error"),
    [
        (b"ab\0", "utf-8", "found a NUL byte at its byte 2; expected text"),
        (b"a\xff", "utf-8", "not UTF-8: invalid start byte at its byte 1"),
        (b"\xff", "ascii", "not ascii: ordinal not in range"),
        (b"+2AA-", "utf-7", "not utf-7: it gives no text that UTF-8 can encode"),
    ],
)
def test_bytes_that_are_no_text_are_malformed(line: bytes, encoding: str, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        line_text(line, encoding)
