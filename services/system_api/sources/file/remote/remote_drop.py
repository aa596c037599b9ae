"""Whole files of a remote file system: read when they are complete, oldest first, then archived or deleted.

    list    which files are new, at the interval
    read    a part of a file; then look whether it is still the file that was listed

What was read of a file that changed meanwhile is discarded, and the file is read as a new one. A file is read again
from its beginning, record by record, up to the position that was saved.
"""

import asyncio
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, NamedTuple

import msgspec

from services.system_api.sources.file.documents.reader import DocumentReader
from services.system_api.sources.file.documents.records import UnreadableDocument
from services.system_api.sources.file.formats import DocumentMaker
from services.system_api.sources.file.options import FileSourceOptions, Ready
from services.system_api.sources.file.parsing.parser import UnusableFile
from services.system_api.sources.file.reading.file_problems import shown
from services.system_api.sources.file.reading.folder_view import yielding
from services.system_api.sources.file.reading.recounting import RecountedFiles
from services.system_api.sources.file.remote.finishing import RemoteFinisher
from services.system_api.sources.file.remote.ledger import Ledger, RemoteProgress
from services.system_api.sources.file.remote.remote_thread import RemoteThread
from services.system_api.sources.file.remote.store import RemoteListing, RemoteStore
from services.system_api.sources.source import Batch, Checkpoint
from shared.errors import Malformed, SettingsError, Unavailable
from shared.runtime.clock import Clock

_LONGEST = 5.0
"""Seconds after which one poll begins no other request."""
_SHOWN = 20
"""Files that are named one by one."""


class _Open(NamedTuple):
    """The file that is read on."""

    file_id: str
    reader: DocumentReader
    known: RemoteProgress
    """What was known of it before it was opened."""


class RemoteDrop(RecountedFiles):
    """A `Source` of whole remote files. `Settling`: a file is finished once everything in it is committed."""

    def __init__(
        self,
        options: FileSourceOptions,
        ledger: Ledger,
        store: RemoteStore,
        thread: RemoteThread,
        make: DocumentMaker,
        finisher: RemoteFinisher,
        clock: Clock,
    ) -> None:
        self._options = options
        self._builder = make.builder
        self._ledger = ledger
        self._store = store
        self._thread = thread
        self._make = make
        self._finisher = finisher
        self._clock = clock
        self._jobs: list[str] = []
        """Ids of the files to be read, the next one last."""
        self._open: _Open | None = None
        self._unusable: dict[str, str] = {}
        """By id of a file: why nothing more of it can be read."""
        self._uncommitted: dict[str, bytes] = {}
        """Files that were read to their end, each with the part of the checkpoint that says so."""

    async def poll(self, limit: int) -> Batch:
        """Read on in the oldest complete file."""
        batch = Batch()
        listed = not self._jobs
        if listed:
            await self._list(batch)
        self._builder.begin_batch()
        until = self._clock.monotonic() + _LONGEST
        while self._jobs and len(batch.records) + len(batch.rejects) < limit and self._clock.monotonic() < until:
            try:
                more = await self._read_on(self._jobs[-1], batch, limit)
            except Unavailable:
                self._close()  # it is read on from the position that is saved
                if not (batch.records or batch.rejects):
                    raise
                break
            if not more:
                self._jobs.pop()
                self._close()
        batch.checkpoint = self._ledger.take_checkpoint()
        batch.begun = self._ledger.begun.take(batch.checkpoint, events=bool(batch.records))
        # Until a listing has shown nothing, something may be waiting that was written meanwhile.
        batch.more = bool(self._jobs) or not listed
        self._describe(batch)
        return batch

    async def wait_for_change(self) -> None:
        """Return when a file that was listed may be complete; a remote file system tells nothing else."""
        now = self._clock.monotonic()
        if (due := self._ledger.next_complete(now)) is None:
            await asyncio.Event().wait()
        else:
            await self._clock.sleep(due - now)

    async def settle(self, batch: Batch) -> None:
        """Finish the files whose last record is in this batch."""
        for file_id, saved in batch.checkpoint.items():
            if saved is not None and self._uncommitted.get(file_id) == saved:
                del self._uncommitted[file_id]
                self._finisher.start(file_id, self._ledger.files[file_id])

    async def checkpoint_at(self, place: Literal["beginning", "end"] | datetime) -> Checkpoint:
        """Return the checkpoint from which the files that are there are read again; see `Rewinding`."""
        if place == "end":
            raise Malformed("files can be rewound to the beginning, to a time and to a position only")
        since = 0 if isinstance(place, str) else int(place.timestamp() * 1e9)
        again = {"part": 0, "position": 0, "line": 0, "rows": 0, "rejects": 0, "done": False, "passed_over": False}
        files = {
            file_id: msgspec.structs.replace(known, **again) if known.mtime >= since else known
            for file_id, known in self._ledger.files.items()
        }
        count = msgspec.structs.replace(self._ledger.count, started=True)
        return {"": msgspec.json.encode(count), **{key: msgspec.json.encode(known) for key, known in files.items()}}

    def _is_done(self, file_id: str) -> bool:
        return file_id in self._ledger.files and self._ledger.files[file_id].done

    async def _list(self, batch: Batch) -> None:
        now = self._clock.monotonic()
        listed, ready, paths = await self._thread.run(self._listed)
        noted = [self._ledger.note(file, ready, now) async for file in yielding(listed.files)]
        self._ledger.end_listing(paths, now)
        for file_id in self._ledger.forgotten:
            self._finisher.forget(file_id)
            self._unusable.pop(file_id, None)
            self._uncommitted.pop(file_id, None)
        self._ledger.forgotten.clear()
        for before, file in self._ledger.changed:
            if before.done and before.rows:
                text = f"{self._store.url_of(file.path)}: changed after it was read; it is read again as a new file"
                batch.taken_early = (*batch.taken_early, text)
        self._ledger.changed.clear()
        self._finisher.retry()
        async for file_id, progress in yielding(list(self._ledger.files.items())):
            if progress.done and file_id not in self._uncommitted and file_id not in self._ledger.missing:
                self._finisher.start(file_id, progress)
        # Last: what is interrupted before this lists again.
        self._jobs = [each for each in reversed(noted) if each is not None and each not in self._unusable]

    def _listed(self) -> tuple[RemoteListing, dict[str, bool], AbstractSet[str]]:
        """Return the files that are there, which of them are marked as complete, and their paths. Blocking."""
        listed = self._store.list_files()
        return listed, self._ready(listed), {file.path for file in listed.files}

    def _ready(self, listed: RemoteListing) -> dict[str, bool]:
        if self._options.drop.ready is not Ready.DONE_FILE:
            return {}
        suffix = self._options.drop.done_suffix
        return {file.path: file.path + suffix in listed.paths for file in listed.files}

    async def _read_on(self, file_id: str, batch: Batch, limit: int) -> bool:
        """Return whether the file may have more to read."""
        known, read = self._ledger.files[file_id], Batch()
        room = limit - len(batch.records) - len(batch.rejects)
        try:
            if self._open is None or self._open.file_id != file_id:
                # Set here, not in the thread: one that had no answer in time may end much later.
                self._open = await self._thread.run(self._opened, file_id, known)
            more = await self._thread.run(self._read, self._open, read, room)
            error = None
        except FileNotFoundError:
            return False  # it was deleted after it was listed
        except (UnreadableDocument, UnusableFile, SettingsError) as exc:
            more, error = False, exc
        current = await self._thread.run(self._store.current, known.path)
        if current is None or current.version != known.version:
            return False  # what was read may be of both; the next listing shows a new file
        batch.records += read.records
        batch.rejects += read.rejects
        batch.rows, batch.skipped = (batch.rows or 0) + (read.rows or 0), batch.skipped + read.skipped
        part = self._save(file_id, done=not more and error is None)
        if error is not None:
            self._unusable[file_id] = f"{self._store.url_of(known.path)}: not read to its end: {error}"
        elif not more:
            self._uncommitted[file_id] = part
        return more

    def _opened(self, file_id: str, known: RemoteProgress) -> _Open:
        """Open a file where it is to be read on. Blocking."""
        place = (known.part, known.position, known.line)
        with self._os_errors(known):
            file = self._store.open(known.path)
            return _Open(file_id, self._make(file_id, self._store.url_of(known.path), file, place), known)

    def _read(self, opened: _Open, batch: Batch, limit: int) -> bool:
        """Read a part of a file. Blocking."""
        with self._os_errors(opened.known):
            return opened.reader.read(batch, limit)

    @contextmanager
    def _os_errors(self, known: RemoteProgress) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise Unavailable(f"{self._store.url_of(known.path)}: {exc.strerror or exc}") from exc

    def _save(self, file_id: str, *, done: bool) -> bytes:
        known = self._ledger.files[file_id]
        if self._open is None or self._open.file_id != file_id:
            return self._ledger.update(file_id, known)
        reader, before = self._open.reader, self._open.known
        moved = msgspec.structs.replace(
            known,
            part=reader.part,
            position=reader.position,
            line=reader.line,
            rows=before.rows + reader.rows,
            rejects=before.rejects + reader.rejects,
            truncated=before.truncated or reader.truncated,
            done=done,
        )
        return self._ledger.update(file_id, moved)

    def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            self._thread.submit(lambda: _close(opened.reader))

    def _describe(self, batch: Batch) -> None:
        unread = list(self._unusable.values())
        batch.problems = shown([*unread, *self._finisher.problems.values()])
        waiting = [
            f"{self._store.url_of(path)}: it is not complete yet" for path in list(self._ledger.unstable)[:_SHOWN]
        ]
        gone = [self._ledger.files[file_id] for file_id in self._ledger.missing if not self._is_done(file_id)]
        batch.problems += tuple(
            f"{self._store.url_of(each.path)}: deleted before its end was read" for each in gone[:_SHOWN]
        )
        if unread:
            waiting.append(f"{len(unread)} files that cannot be read; see problems")
        batch.waiting = tuple(waiting)


def _close(reader: DocumentReader) -> None:
    try:
        reader.close()
    except OSError:
        return  # the connection is gone
