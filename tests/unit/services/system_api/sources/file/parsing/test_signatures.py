"""Files that are no text are recognised, and text is not."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.signatures import SIGNATURE_BYTES, recognise

TEXT = '{"id":"1"}\n'


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", TEXT)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (gzip.compress(TEXT.encode()), "gzip"),
        (bz2.compress(TEXT.encode()), "bzip2"),
        (lzma.compress(TEXT.encode()), "xz"),
        (zipped(), r"\.xlsx"),
        (b"\x28\xb5\x2f\xfd\x04\x00", "zstd"),
        (b"PAR1\x15\x04\x15", "Parquet"),
        (b"Obj\x01\x04", "Avro"),
        (b"%PDF-1.7\n", "PDF"),
        (TEXT.encode("utf-16"), "UTF-16"),
        (TEXT.encode("utf-16-le"), "UTF-16 without"),
        (TEXT.encode("utf-16-be"), "UTF-16 without"),
        (TEXT.encode("utf-32"), "UTF-32"),
    ],
)
def test_what_is_no_utf8_text_is_recognised(content: bytes, meaning: str) -> None:
    with pytest.raises(AssertionError, match=meaning):
        raise AssertionError(recognise(content[:SIGNATURE_BYTES]))


@pytest.mark.parametrize(
    "content", [b"", b"a", b"BZhang,id\n", b"PAR1,PAR2\n", b"ORCID,name\n", b"\xef\xbb\xbfid\n", b"\0" * 16, b"a\0\0\0"]
)
def test_text_is_not_recognised_as_anything_else(content: bytes) -> None:
    assert recognise(content) is None


@given(st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs"]), max_size=20))
def test_printable_text_is_text(text: str) -> None:
    assert text.startswith("%PDF-") or recognise(text.encode()[:SIGNATURE_BYTES]) is None
