"""Contents: decompressed and transcoded, in bounded pieces, with errors where they are broken."""

import bz2
import gzip
import io
import zipfile
from collections.abc import Callable
from typing import BinaryIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.documents.content import Compression, Content
from services.system_api.sources.file.documents.records import Stream, UnreadableDocument

TEXT = b"".join(b"line %d\n" % number for number in range(20_000))


def everything(stream: Stream, size: int = 10_000) -> bytes:
    pieces = []
    while piece := stream.read(size):
        assert len(piece) <= 4 * size
        pieces.append(piece)
    return b"".join(pieces)


def zipped(content: bytes, name: str = "a.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def test_what_macos_adds_to_an_archive_is_left_out() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a.csv", "__MACOSX/._a.csv", "in/.DS_Store", ".DS_Store", "in/b.csv", "__MACOSX/in/._b.csv"):
            archive.writestr(name, TEXT)
    for members in ("*", "*.csv"):
        assert Content(io.BytesIO(file.getvalue()), Compression.ZIP, members=members).parts == ["a.csv", "in/b.csv"]


COMPRESSORS: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.BZIP2: bz2.compress,
    Compression.ZSTD: zstandard.ZstdCompressor().compress,
    Compression.ZIP: zipped,
}
COMPRESSED = [each for each in Compression if each is not Compression.NONE]


def content(data: bytes, compression: Compression, **more: str) -> Content:
    file: BinaryIO = io.BytesIO(data)
    return Content(file, compression, **more)


@pytest.mark.parametrize("compression", list(Compression))
def test_the_content_can_be_read_again_from_the_beginning(compression: Compression) -> None:
    found = content(COMPRESSORS[compression](TEXT), compression)
    assert len(found.parts) == 1
    assert everything(found.open(0)) == everything(found.open(0)) == TEXT
    found.close()


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BZIP2, Compression.ZSTD])
def test_several_streams_in_one_file_are_one_content(compression: Compression) -> None:
    compress = COMPRESSORS[compression]
    assert everything(content(compress(TEXT) + compress(TEXT), compression).open(0)) == TEXT * 2


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("break_", [lambda data: data[: len(data) // 2], lambda _: b"no such data", lambda _: b""])
def test_broken_data_is_an_error(compression: Compression, break_: Callable[[bytes], bytes]) -> None:
    with pytest.raises(UnreadableDocument):
        everything(content(break_(COMPRESSORS[compression](TEXT)), compression).open(0))


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BZIP2, Compression.ZSTD])
@pytest.mark.parametrize("rest", [b"no such data", b"\0" * 20 + b"B", None])
@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_what_follows_a_stream_is_not_ignored(compression: Compression, rest: bytes | None, size: int) -> None:
    """A stream that is broken from its first byte on is no end of the content."""
    compressed = COMPRESSORS[compression](b"hello")
    stream = content(compressed + (compressed[:9] if rest is None else rest), compression).open(0)
    pieces: list[bytes] = []
    with pytest.raises(UnreadableDocument, match="broken"):
        pieces.extend(iter(lambda: stream.read(size), b""))


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.BZIP2, Compression.ZIP])
def test_altered_data_is_an_error(compression: Compression) -> None:
    data = bytearray(COMPRESSORS[compression](TEXT))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UnreadableDocument, match="broken"):
        everything(content(bytes(data), compression).open(0))


def test_errors_of_the_disk_are_no_errors_of_the_content() -> None:
    class Broken(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        Content(Broken(b"x"), Compression.GZIP).open(0).read(10)


def test_an_archive_has_a_part_for_each_file_that_is_wanted() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("b.csv", "a.csv", "in/c.csv", "readme.txt"):
            archive.writestr(name, name)
    found = Content(file, Compression.ZIP, members="*.csv")
    assert found.parts == ["b.csv", "a.csv", "in/c.csv"]
    assert everything(found.open(2)) == b"in/c.csv"
    with pytest.raises(UnreadableDocument, match=r"found no file '\*\.xml' in the archive; found b\.csv, a\.csv"):
        Content(file, Compression.ZIP, members="*.xml")


def test_an_archive_that_is_encrypted_or_ambiguous_is_an_error() -> None:
    data = bytearray(zipped(b"secret"))
    for place in (6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1  # the flag of an encrypted file
    with pytest.raises(UnreadableDocument, match=r"a\.csv in the archive: .*encrypted"):
        content(bytes(data), Compression.ZIP).open(0)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "2")
    with pytest.raises(UnreadableDocument, match="a name twice"):
        Content(file, Compression.ZIP)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["utf-16", "utf-32", "utf-16-be", "gb18030"]),
       st.integers(1, 7))  # fmt: skip
def test_text_is_transcoded_in_pieces_of_any_size(text: str, encoding: str, size: int) -> None:
    found = content(text.encode(encoding), Compression.NONE, encoding=encoding)
    assert everything(found.open(0), size) == text.encode()


@pytest.mark.parametrize(
    ("data", "encoding", "good", "error"),
    [
        (
            "good".encode("utf-16-le") + b"\x00\xd8a\x00",
            "utf-16-le",
            b"good",
            "byte 8: not utf-16-le: illegal UTF-16 surrogate",
        ),
        (b"a\x00b", "utf-16-le", b"a", "byte 2: not utf-16-le: truncated data"),
        (b"a\x00b\x00", "utf-16", b"", "set its byte order, such as encoding: utf-16-le"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_what_is_not_in_the_encoding_is_an_error_behind_what_is(
    data: bytes, encoding: str, good: bytes, error: str, size: int
) -> None:
    stream = content(data, Compression.NONE, encoding=encoding).open(0)
    pieces: list[bytes] = []
    with pytest.raises(UnreadableDocument, match=error):
        pieces.extend(iter(lambda: stream.read(size), b""))
    assert b"".join(pieces) == good
