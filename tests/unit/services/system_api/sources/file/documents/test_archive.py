"""A broken archive is told from a file that cannot be read now."""

import errno
import io
from collections.abc import Callable
from typing import Any

import pytest

from services.system_api.sources.file.documents.archive import is_archive, opened_archive
from services.system_api.sources.file.documents.excel import read_excel
from services.system_api.sources.file.documents.records import UnreadableDocument
from tests.unit.services.system_api.sources.file.document_files import workbook

WORKBOOK = workbook([["id"], *([number] for number in range(50))])
CENTRAL = b"PK\x01\x02"


class FailingFile(io.BytesIO):
    """A file whose connection is lost at some access."""

    def __init__(self, content: bytes, at: int) -> None:
        super().__init__(content)
        self.left = at

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionResetError(errno.ECONNRESET, "connection reset")

    def read(self, size: int | None = -1, /) -> bytes:
        self._count()
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._count()
        return super().seek(offset, whence)


def broken() -> bytes:
    """An archive whose directory is overwritten."""
    at = WORKBOOK.index(CENTRAL)
    return WORKBOOK[:at] + b"XX" + WORKBOOK[at + 2 :]


def newer() -> bytes:
    """An archive that needs a later version of ZIP."""
    at = WORKBOOK.index(CENTRAL) + 6
    return WORKBOOK[:at] + b"\xff" + WORKBOOK[at + 1 :]


def misnamed() -> bytes:
    """An archive with a name that is not the UTF-8 that it claims to be."""
    at = WORKBOOK.index(CENTRAL)
    found = bytearray(WORKBOOK)
    found[at + 9] |= 0x08
    found[at + 46] = 0xFF
    return bytes(found)


@pytest.mark.parametrize("content", [broken(), newer(), misnamed(), WORKBOOK[:-30], b"", b"PK"])
def test_a_broken_archive_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableDocument, match="found no ZIP archive: "):
        opened_archive(io.BytesIO(content))
    with pytest.raises(UnreadableDocument):
        list(read_excel(io.BytesIO(content), None, 0))


@pytest.mark.parametrize(
    "use", [is_archive, opened_archive, lambda file: list(read_excel(file, None, 0))], ids=["is", "open", "excel"]
)
def test_a_lost_connection_is_no_broken_archive(use: Callable[[Any], object]) -> None:
    at = 0
    while True:
        try:
            use(FailingFile(WORKBOOK, at))
        except ConnectionResetError:
            at += 1
        else:
            break
    assert at > 2, "the connection was lost at each access, until there was none more"


def test_a_remote_file_that_is_too_short_is_no_archive() -> None:
    class Short(io.BytesIO):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            if whence == io.SEEK_END and offset < -2:
                raise OSError(errno.EIO, "seek before start of file") from ValueError(offset)
            return super().seek(offset, whence)

    assert not is_archive(Short(b"PK"))
    with pytest.raises(UnreadableDocument, match="found no ZIP archive: "):
        opened_archive(Short(b"PK"))
