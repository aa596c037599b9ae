"""Reads remote files again, up to their saved positions, to count their events."""

from contextlib import suppress

from services.system_api.sources.file.documents.reader import DocumentReader
from services.system_api.sources.file.documents.records import UnreadableDocument
from services.system_api.sources.file.formats import DocumentMaker
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.recounting import STEP, Place
from services.system_api.sources.file.remote.ledger import RemoteProgress
from services.system_api.sources.file.remote.remote_thread import RemoteThread
from services.system_api.sources.file.remote.store import RemoteStore
from services.system_api.sources.source import Batch
from shared.errors import SettingsError, Unavailable


class RemoteReread:
    """A `Reread` of files of a remote file system. One that was archived or deleted is gone."""

    def __init__(self, store: RemoteStore, thread: RemoteThread, make: DocumentMaker) -> None:
        """The events of readers that `make` makes are counted."""
        self._store = store
        self._thread = thread
        self._make = make

    def end(self, known: RemoteProgress) -> Place:
        """See `Reread`."""
        return Place(known.part, known.position)

    async def read(self, file_id: str, known: RemoteProgress, end: Place) -> bool:
        """See `Reread`.

        Raises:
            Unavailable: the server does not answer.
        """
        try:
            if not await self._is_the_same(known):
                return False
            reader = await self._thread.run(self._open, file_id, known)
            try:
                more = True
                while more and Place(reader.part, reader.position) < end:
                    more = await self._thread.run(self._read, reader, known)
            finally:
                self._thread.submit(lambda: _close(reader))
        except (FileNotFoundError, UnreadableDocument, UnusableFile, SettingsError):
            return False
        return await self._is_the_same(known)

    async def _is_the_same(self, known: RemoteProgress) -> bool:
        current = await self._thread.run(self._store.current, known.path)
        return current is not None and current.version == known.version

    def _open(self, file_id: str, known: RemoteProgress) -> DocumentReader:
        return self._make(file_id, self._store.url_of(known.path), self._store.open(known.path), (0, 0, 0))

    def _read(self, reader: DocumentReader, known: RemoteProgress) -> bool:
        try:
            return reader.read(Batch(), STEP)
        except OSError as exc:
            raise Unavailable(f"{self._store.url_of(known.path)}: {exc.strerror or exc}") from exc


def _close(reader: DocumentReader) -> None:
    with suppress(OSError):  # the connection is gone
        reader.close()
