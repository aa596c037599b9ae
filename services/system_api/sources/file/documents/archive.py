"""Opens ZIP archives, and tells a broken one from a file that cannot be read now."""

import errno
import os
import zipfile
from collections.abc import Callable
from typing import BinaryIO, TypeVar, cast

from services.system_api.sources.file.documents.records import UnreadableDocument
from shared.errors import TrelayError

T = TypeVar("T")


def is_archive(file: BinaryIO) -> bool:
    """Return whether a file is an archive. Raises `OSError` if it cannot be read now."""
    noting = _Noting(file)
    found = zipfile.is_zipfile(cast("BinaryIO", noting))
    if noting.error is not None:
        raise noting.error
    return found


def opened_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Return the archive in a file.

    Raises:
        UnreadableDocument: it is no archive, or broken.
        OSError: the file cannot be read now.
    """
    noting = _Noting(file)
    try:
        return zipfile.ZipFile(cast("BinaryIO", noting))
    except (OSError, TrelayError, MemoryError):
        raise
    except Exception as exc:  # zipfile raises several kinds of them
        if noting.error is not None:
            raise noting.error from None
        raise UnreadableDocument(f"found no ZIP archive: {exc}") from exc


class _Noting:
    """A file that keeps its last error, which `zipfile` takes for a broken archive."""

    def __init__(self, file: BinaryIO) -> None:
        self.error: OSError | None = None
        self._file = file

    def read(self, size: int = -1) -> bytes:
        return self._noted(lambda: self._file.read(size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._noted(lambda: self._file.seek(offset, whence))

    def tell(self) -> int:
        return self._noted(self._file.tell)

    def seekable(self) -> bool:
        return True

    def _noted(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except OSError as exc:
            # An offset before the beginning of the file is a fault of the archive: of a remote file, a `ValueError`.
            if exc.errno != errno.EINVAL and not isinstance(exc.__cause__, ValueError):
                self.error = exc
            raise
