"""Files that no path of the source leads to any more: moved, deleted, or rotated behind a link.

    held        read on through its descriptor, wherever it is
    found       elsewhere by its inode, or a copy with its contents: opened, and read on from there
    not found   after a while a loss, unless everything in it was read while it was watched

A file that was deleted ends when nobody has it open for writing any more.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from services.system_api.sources.file.filesystem import FileStat, regular_file
from services.system_api.sources.file.folders.neighbourhood import Neighbourhood
from services.system_api.sources.file.held_files import state_of
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.jobs import Job
from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.file.tailing.completion import GRACE, grows_no_more

_COPIES = 20
"""Files with a similar name that are compared with one that was not found."""
_SHOWN = 20
"""Files that are named one by one."""
_SEARCHES = 200
"""Files for which copies are searched at once."""


class Departed:
    """The missing files of a tailed source."""

    def __init__(self, disk: Disk, open_files: OpenFiles, losses: Losses) -> None:
        self._disk = disk
        self._open_files = open_files
        self._catalogue = open_files.catalogue
        self._losses = losses
        self._lost: dict[str, float] = {}
        """Files that were not found, each since when."""
        self._unread: dict[str, int] = {}
        """The sizes of files that had something to read when they left."""
        self.ending: set[str] = set()
        """Files that no longer grow, so that their last line is complete."""
        self.written: set[str] = set()
        """Deleted files that another process still has open for writing."""

    async def look(self, now: float, busy: Callable[[Progress], bool]) -> list[Job]:
        """Return what there is to read in missing files, oldest first; `busy` tells which have a job."""
        self._forget_found()
        followed = {
            file_id: self._followed(file_id, known, now)
            for file_id in self._catalogue.missing
            if not (known := self._catalogue.files[file_id]).ended and not busy(known)
        }
        states = await self._disk.run(_states, self._disk, followed)
        if unknown := [file_id for file_id, state in states.items() if state is None]:
            states |= await self._search(unknown, now)
        found = [self._job(file_id, state, now) for file_id, state in states.items() if state is not None]
        return sorted(filter(None, found), key=lambda job: (job.file.mtime, job.file.path))

    def _followed(self, file_id: str, known: Progress, now: float) -> "_Followed":
        open_file = self._open_files.open.get(file_id)
        return _Followed(
            known,
            None if open_file is None else open_file.descriptor,
            self._open_files.stat_at_end(file_id),
            self._catalogue.missing_for(file_id, now),
            file_id in self.written,
            file_id in self._lost,
        )

    def note_unread(self, file_id: str, size: int) -> None:
        """Note that a file of this size had something to read when it left."""
        self._unread[file_id] = size

    async def find_copy(self, file_id: str, copies: Sequence[FileStat]) -> Job | None:
        """Return a job for the copy that was made of a file before the file was truncated: one of `copies`, or near."""
        known = self._catalogue.files[file_id]
        copy = None
        for each in copies:
            if self._catalogue.id_of(each.inode) is None and await self._open_files.agrees(each, file_id):
                copy = each
                break
        else:
            copy = await self._copy(file_id, await self._disk.run(_near, [known]))
        if copy is None:
            return None
        self._open_files.move(file_id, copy)
        return Job(copy, file_id, departed=True)

    def end(self, file_id: str) -> None:
        """Note that everything in a departed file has been read, and that it grows no more."""
        self.ending.discard(file_id)
        self._open_files.end(file_id)

    def _job(self, file_id: str, state: "_State", now: float) -> Job | None:
        file = state.file
        self._lost.pop(file_id, None)
        self._losses.over(file_id)
        if not state.deleted:
            self._open_files.move(file_id, file)
        if not self._open_files.idle(file_id, file):
            self._catalogue.still_active(file_id, now)
            return Job(file, file_id, departed=True)
        self.written.discard(file_id)
        if state.deleted and state.written:
            self.written.add(file_id)
            return None
        if _is_complete(state, self._catalogue.missing_for(file_id, now)):
            self.ending.add(file_id)
            return Job(file, file_id, departed=True)
        return None

    def waiting(self) -> list[str]:
        """Return as text which deleted files are still written to."""
        paths = sorted(self._catalogue.files[file_id].path for file_id in self.written)
        texts = [f"{path}: deleted, and still open for writing by another process" for path in paths]
        more = len(texts) - _SHOWN
        return texts if more <= 0 else [*texts[:_SHOWN], f"and {more} more files like these"]

    def _forget_found(self) -> None:
        """Forget what was known of files that are missing no more."""
        missing = self._catalogue.missing.keys()
        for ids in (self.ending, self.written):
            ids.intersection_update(missing)
        for sizes in (self._lost, self._unread):
            for file_id in sizes.keys() - missing:
                del sizes[file_id]

    async def _search(self, unknown: list[str], now: float) -> dict[str, "_State"]:
        """Search for files that are not held: at once, and again before they count as lost."""
        due = [file_id for file_id in unknown if file_id not in self._lost or now - self._lost[file_id] > GRACE]
        if not due:
            return {}
        files = {file_id: self._catalogue.files[file_id] for file_id in due}
        near = await self._disk.run(_near, list(files.values()))
        found = await self._disk.run(_by_inode, near, files)
        for file_id in [each for each in due if each not in found][:_SEARCHES]:
            if (copy := await self._copy(file_id, near)) is not None:
                self._open_files.move(file_id, copy)
                found[file_id] = _State(copy, deleted=False, written=None)
        for file_id in due:
            if file_id in found:
                continue
            if file_id in self._lost:
                self._lose(file_id, near)
            else:
                self._lost[file_id] = now
        await self._disk.run(self._disk.held.hold, [state.file for state in found.values()])
        return found

    async def _copy(self, file_id: str, near: Neighbourhood) -> FileStat | None:
        """Return a file with a similar name that has the contents that were read of a file."""
        known = self._catalogue.files[file_id]
        if not known.offset:
            return None
        for candidate in await self._disk.run(_similar, near, known, self._catalogue.id_of):
            if await self._open_files.agrees(candidate, file_id):
                return candidate
        return None

    def _lose(self, file_id: str, near: Neighbourhood) -> None:
        known = self._catalogue.files[file_id]
        del self._lost[file_id]
        if known.complete:
            self._open_files.end(file_id)
            return
        left = self._unread.get(file_id, 0) - known.offset
        behind = f"the {left} bytes that it had behind that are lost"
        if left <= 0:
            behind = "what was written behind that, if anything, is lost"
        searched = "" if near.complete else "; not all folders beside it were searched: set rotated"
        text = (
            f"{known.path}: gone while it was not open; it was read up to byte {known.offset}, and {behind}{searched}"
        )
        self._losses.add(file_id, text, max(0, left))
        self._open_files.end(file_id)


class _State(NamedTuple):
    """Where a departed file is."""

    file: FileStat
    deleted: bool
    written: bool | None
    """Whether a deleted file is open for writing elsewhere; None if that is unknown."""


class _Followed(NamedTuple):
    """What is known of a departed file."""

    known: Progress
    descriptor: int | None
    """That of the file if it is being read."""
    at_end: tuple[int, int] | None
    """Size and modification time (ns) when its end was read."""
    quiet: float
    """Seconds since it left, or changed last."""
    written: bool
    """Whether it was deleted, and was open for writing, at the last look."""
    lost: bool
    """Whether it was not found at the last look."""


def _is_complete(state: _State, quiet: float) -> bool:
    """Whether a departed file that has not changed for `quiet` seconds grows no more."""
    return state.deleted and grows_no_more(quiet, written=state.written)


def _states(disk: Disk, files: dict[str, _Followed]) -> dict[str, _State | None]:
    """Return the states of files with which there is something to do; None for one that is not found. Blocking."""
    held = disk.held.states({each.known.inode for each in files.values()})
    found, reachable = dict[str, _State | None](), list[FileStat]()
    for file_id, followed in files.items():
        known = followed.known
        open_ = held.get(known.inode)
        if followed.descriptor is not None:
            open_ = state_of(followed.descriptor, known.path, known.inode)
        if open_ is not None:
            state = _State(open_.file, open_.deleted, open_.written)
        elif (file := _where_it_was(known)) is not None:
            state = _State(file, deleted=False, written=None)
            reachable.append(file)
        else:
            found[file_id] = None
            continue
        if _matters(state, followed):
            found[file_id] = state
    disk.held.hold(reachable)
    disk.held.pin(each.known.inode for each in files.values())
    return found


def _where_it_was(known: Progress) -> FileStat | None:
    for path in (known.path, known.real):
        file = regular_file(path) if path else None
        if file is not None and file.inode == known.inode:
            return file
    return None


def _matters(state: _State, followed: _Followed) -> bool:
    """Whether there is something to do with a file: it has changed, moved or ended."""
    file = state.file
    return (
        (file.size, file.mtime) != followed.at_end
        or followed.lost
        or (not state.deleted and file.path != followed.known.path)
        or bool(state.deleted and state.written) is not followed.written
        or _is_complete(state, followed.quiet)
    )


def _near(files: Iterable[Progress]) -> Neighbourhood:
    """Return what is near the paths of files. Blocking."""
    places = dict[str, None]()
    for known in files:
        places |= dict.fromkeys(path for path in (known.path, known.real) if path)
        try:
            places[str(Path(known.path).resolve(strict=True))] = None
        except OSError:
            continue
    return Neighbourhood(places)


def _by_inode(near: Neighbourhood, files: dict[str, Progress]) -> dict[str, _State]:
    found = {}
    for file_id, known in files.items():
        file = near.by_inode(known.inode)
        if file is None or file.size < known.offset:
            continue
        if known.offset or Path(file.path).name.startswith(Path(known.path).stem):
            found[file_id] = _State(file, deleted=False, written=None)
    return found


def _similar(near: Neighbourhood, known: Progress, id_of: Callable[[tuple[int, int]], str | None]) -> list[FileStat]:
    """Return unknown files with names like that of a known one, the newest first."""
    names = [path for path in (known.path, known.real) if path]
    found = {file.inode: file for name in names for file in near.named_like(name) if file.size >= known.offset}
    unknown = [file for file in found.values() if id_of(file.inode) is None]
    return sorted(unknown, key=lambda file: file.mtime, reverse=True)[:_COPIES]
