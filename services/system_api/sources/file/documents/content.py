"""The content of a file as a stream of bytes: decompressed, and transcoded to UTF-8.

Streams are read on demand, so that memory stays bounded however much a file expands to.
"""

import bz2
import codecs
import fnmatch
import gzip
import os
import zipfile
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, BinaryIO

from services.system_api.sources.file.documents.archive import opened_archive
from services.system_api.sources.file.documents.records import Stream, UnreadableDocument
from shared.errors import TrelayError
from shared.runtime.extras import extra

_CHUNK = 65_536
"""Compressed bytes that are read at once."""


class Compression(StrEnum):
    """How a file is compressed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    ZIP = "zip"
    """An archive: the files in it are read one after another."""


class Content:
    """The content of one file, in one part or, in an archive, several."""

    def __init__(
        self, file: BinaryIO, compression: Compression, *, members: str = "*", encoding: str | None = None
    ) -> None:
        """`members` is a glob for the names in an archive; without an `encoding`, bytes stay as they are.

        Raises:
            UnreadableDocument: it is no archive.
        """
        self._file = file
        self._compression = compression
        self._encoding = encoding
        if compression is not Compression.NONE and not file.seek(0, os.SEEK_END):
            raise UnreadableDocument(f"found an empty file; expected {compression} data")
        self._archive = opened_archive(file) if compression is Compression.ZIP else None
        self.parts: Sequence[str] = ("",) if self._archive is None else _names(self._archive, members)
        """The names of the parts: those in the archive, or one empty name."""

    @property
    def file(self) -> BinaryIO:
        """The file itself, for formats that are not read in order."""
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._archive is not None:
            self._archive.close()
        self._file.close()

    def open(self, part: int) -> Stream:
        """Return a part's bytes from the beginning."""
        stream: Stream
        if self._archive is not None:
            stream = _Guarded(_opened_member(self._archive, self.parts[part]), "ZIP")
        else:
            self._file.seek(0)
            stream = _decompressed(self._file, self._compression)
        return stream if self._encoding is None else _Transcoded(stream, self._encoding)


def _names(archive: zipfile.ZipFile, members: str) -> list[str]:
    names = [info.filename for info in archive.infolist() if not info.is_dir() and not _is_of_macos(info.filename)]
    chosen = [name for name in names if fnmatch.fnmatchcase(name, members)]
    if not chosen:
        raise UnreadableDocument(
            f"found no file {members!r} in the archive; found {', '.join(names[:5]) or 'no files at all'}"
        )
    if len(set(chosen)) < len(chosen):
        raise UnreadableDocument("found a name twice in the archive; expected distinct names")
    return chosen


def _is_of_macos(name: str) -> bool:
    """Whether the Finder of macOS added a file to the archive: what it knows of another file, or of a folder."""
    return name.startswith("__MACOSX/") or name.rpartition("/")[2] == ".DS_Store"


def _opened_member(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        return archive.open(name)
    except OSError:
        raise
    except Exception as exc:  # zipfile raises several kinds of them
        raise UnreadableDocument(f"{name} in the archive: {exc}") from exc


def _decompressed(file: BinaryIO, compression: Compression) -> Stream:
    match compression:
        case Compression.GZIP:
            return _Guarded(gzip.GzipFile(fileobj=file, mode="rb"), "gzip")
        case Compression.BZIP2:
            return _Guarded(_Bzip2(file), "bzip2")
        case Compression.ZSTD:
            with extra("files", "compression: zstd"):
                import pyarrow as pa  # noqa: PLC0415 -- an optional package

            # The package zstandard does not tell a frame that is cut off from the end.
            return _Guarded(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"), "zstd")
        case _:
            return file


class _Bzip2:
    """Decompresses streams one after another. `bz2.BZ2File` takes a broken one behind the first for the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = bz2.BZ2Decompressor()

    def read(self, size: int) -> bytes:
        while True:
            current, data = self._decompressor, b""
            if current.eof:
                data = current.unused_data or self._file.read(_CHUNK)
                if not data:
                    return b""
                self._decompressor = current = bz2.BZ2Decompressor()
            elif current.needs_input:
                data = self._file.read(_CHUNK)
                if not data:
                    raise EOFError("the file ends within a stream")
            if found := current.decompress(data, size):
                return found


class _Guarded:
    """Translates the errors of a decompressor."""

    def __init__(self, stream: Any, kind: str) -> None:
        self._stream = stream
        self._kind = kind

    def read(self, size: int) -> bytes:
        try:
            found: bytes = self._stream.read(size)
        except (TrelayError, MemoryError):
            raise
        except Exception as exc:  # each decompressor has its own
            if isinstance(exc, OSError) and exc.errno is not None:
                raise
            raise UnreadableDocument(f"the {self._kind} data is broken: {exc}") from exc
        return found


class _Transcoded:
    """Bytes of another encoding as UTF-8."""

    def __init__(self, stream: Stream, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._read = 0
        self._error: UnreadableDocument | None = None

    def read(self, size: int) -> bytes:
        while True:
            if self._error is not None:
                raise self._error
            data = self._stream.read(size)
            held = len(self._decoder.getstate()[0])
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeError as exc:
                if not isinstance(exc, UnicodeDecodeError) or "BOM" in exc.reason:  # the latter from Python 3.13 on
                    remedy = f"set its byte order, such as encoding: {self._encoding}-le"
                    raise UnreadableDocument(f"not {self._encoding}: no byte order mark; {remedy}") from exc
                place = self._read - held + exc.start
                self._error = UnreadableDocument(f"byte {place}: not {self._encoding}: {exc.reason}")
                text = exc.object[: exc.start].decode(exc.encoding)
            self._read += len(data)
            if text or (not data and self._error is None):
                return text.encode(errors="surrogatepass")
