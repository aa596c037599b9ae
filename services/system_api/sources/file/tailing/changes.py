"""Turns what changed in the folders of a tailed source into jobs: what is to be read, and in which order."""

from collections.abc import Collection, Iterable

from services.system_api.sources.file.filesystem import FileStat, Inode
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.listing import Changes
from services.system_api.sources.file.reading.folder_view import FolderView, yielding
from services.system_api.sources.file.reading.jobs import Job, Jobs
from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import Progress
from services.system_api.sources.file.tailing.completion import Completion
from services.system_api.sources.file.tailing.copies import Copies
from services.system_api.sources.file.tailing.departed import Departed
from services.system_api.sources.file.tailing.rotation import Rotation
from shared.errors import Unavailable
from shared.runtime.clock import Clock


class ChangeTracker:
    """The jobs of a tailed source, as its folders change."""

    def __init__(
        self, glob: Glob, view: FolderView, open_files: OpenFiles, rotation: Rotation, losses: Losses, clock: Clock
    ) -> None:
        """`glob` is that of the setting `path`."""
        self.jobs = Jobs()
        self.departed = Departed(open_files.disk, open_files, losses)
        self.copies = Copies(glob, open_files)
        self.completion = Completion(glob, rotation, open_files, clock)
        self._glob = glob
        self._view = view
        self._open_files = open_files
        self._problems = open_files.problems
        self._catalogue = open_files.catalogue
        self._rotation = rotation
        self._losses = losses
        self._clock = clock
        self._failed: list[Job] = []
        """Files that could not be read, and are tried again at the interval."""
        self._first = True

    @property
    def sees_all(self) -> bool:
        """Whether each look sees all files, and each of them can be read."""
        return self._view.sees_all and not self._failed

    @property
    def unreadable(self) -> Collection[str]:
        """Of each folder that could not be read, a text for people."""
        return self._view.unreadable

    async def look(self) -> bool:
        """Find what has changed, if that is due, and add the jobs; return whether it was due.

        Raises:
            Unavailable: the folder or the file does not exist, and nothing is left to read.
        """
        if self.jobs and not self._view.due:
            return False
        now, thorough, unavailable = self._clock.monotonic(), self._view.thorough, None
        try:
            changes = await self._view.look()
        except Unavailable as exc:
            changes, unavailable = [], exc
        unmounted = await self._unmounted()
        self.copies.begin_look()
        left = {inode for each in changes for inode in each.gone}
        decided = False
        if self._first and unavailable is None and unmounted is None:
            decided = await self._begin(changes, now)
        for each in changes:
            await self._apply(each, now)
        unavailable = unavailable or unmounted
        if unmounted is None and (thorough or left):
            await self._follow(left, now)
            await self.completion.look(now)
        self._first = self._first and unavailable is not None
        if unavailable is not None and not self.jobs:
            raise unavailable
        if not (self.jobs or self._view.inodes or self._glob.has_wildcards or self._followed() or decided):
            raise Unavailable(f"{self._glob.path}: no such file")
        return True

    async def _unmounted(self) -> Unavailable | None:
        try:
            await self._view.check_mounted(self._catalogue.files.values())
        except Unavailable as exc:
            return exc
        return None

    def may_be_copy(self, job: Job) -> bool:
        """Whether a file is where rotation puts files, and those alone."""
        return not job.departed and self._rotation.is_rotated(job.file.path)

    async def is_copy(self, job: Job) -> bool:
        """Whether an unknown file is a copy of one that is read, and therefore not to be read."""
        return self.may_be_copy(job) and await self.copies.note(job.file)

    async def is_copy_of_unread(self, job: Job) -> bool:
        """Whether an unknown file is a copy of one that is still to be read, and can be recognised once that is."""
        return self.may_be_copy(job) and await self.copies.is_of_unread(job.file, self.jobs)

    async def find_copies(self) -> None:
        """Find which of the files that are to be read are copies: one of them may be that of a file just truncated."""
        if self.copies.searched:
            return
        self.copies.searched = True
        for job in self.jobs.all():
            if self._is_new(job):
                await self.is_copy(job)

    def _is_new(self, job: Job) -> bool:
        return job.file_id is None and self._catalogue.id_of(job.file.inode) is None

    def retry(self, job: Job) -> None:
        """Try a file again that could not be read."""
        self._failed.append(job)

    async def _begin(self, changes: Iterable[Changes], now: float) -> bool:
        """Look at everything first; return whether this has decided where the source starts, which is to be saved."""
        found = [file for each in changes for file in each.changed]
        self._rotation.begin(found, self._open_files)
        self._catalogue.begin(self._view.inodes, now)
        if self._open_files.start.applies:
            there = [file for file in found if file.size and self._rotation.wanted(file, self._catalogue)]
            self._open_files.pass_over(filter(self._open_files.start.passes_over, there), whole=False)
        else:
            await self._find_held()
        return self._open_files.start.applies

    async def _find_held(self) -> None:
        """Add what was not begun when the source was closed, and has left since."""
        disk = self._open_files.disk
        left = [inode for inode in disk.held.inodes if not self._is_known(inode)]
        found = [state.file for state in (await disk.run(disk.held.states, left)).values()]
        wanted = [file for file in found if file.size and self._rotation.wanted(file, self._catalogue)]
        wanted.sort(key=lambda file: (file.mtime, file.path))
        self.jobs.add_first([Job(file, None, departed=True) for file in wanted])

    def _followed(self) -> bool:
        return any(not self._catalogue.files[each].ended for each in self._catalogue.missing)

    async def _apply(self, changes: Changes, now: float) -> None:
        async for inode in yielding(changes.gone):
            self._leave(inode, now)
        async for file in yielding(changes.changed):
            self._change(file, now)
        for path in changes.vanished:
            self._losses.add(path, f"{path}: came and was gone before it could be opened")

    def _change(self, file: FileStat, now: float) -> None:
        if not self._problems.decodable(file):
            return
        file_id = self._open_files.found(file)
        if file_id is not None:
            self._losses.over(file_id)
            self.completion.note(file_id, file, now)
            if not self._open_files.idle(file_id, file):
                self.jobs.add(Job(file, file_id))
        elif file.size and not self._problems.unusable(file) and self._rotation.wanted(file, self._catalogue):
            self.jobs.add(Job(file, None))

    def _leave(self, inode: Inode, now: float) -> None:
        """Note that no path leads to a file any more."""
        unusable = self._problems.is_unusable(inode)
        self._problems.forget(inode)
        self.copies.forget(inode)
        held = self._open_files.disk.held
        held.unheld.discard(inode)
        file_id, job = self._catalogue.note_gone(inode, now), self.jobs.remove(inode)
        if file_id is not None:
            self.completion.note_departed(file_id, now)
        if unusable and file_id is not None:
            self._open_files.forget(file_id)  # the problem has named it
        elif file_id is not None and file_id not in self._open_files.open and inode not in held:
            for copy in self.copies.release(file_id):
                self.jobs.add(Job(copy, None))
        if unusable or job is None:
            return
        if file_id in self._open_files.open or (file_id is None and inode in held):
            job.departed = True
            self.jobs.add_first([job])
        elif file_id is not None:
            self.departed.note_unread(file_id, job.file.size)
        else:
            text = f"{job.file.path}: gone before it was opened, with {job.file.size} bytes"
            self._losses.add(job.file.path, text, job.file.size)

    async def _follow(self, left: Iterable[Inode], now: float) -> None:
        """Look at the missing files; `left` are those that have just left."""
        for job in self._failed:
            if job.file.inode not in self.jobs:
                self.jobs.add(job)
        self._failed.clear()
        ids = self._catalogue.missing if self._first else filter(None, map(self._catalogue.id_of, left))
        departed = {each: known for each in ids if not (known := self._catalogue.files[each]).ended}
        self.jobs.add_first(await self.departed.look(now, lambda known: known.inode in self.jobs))
        if departed:
            await self._name_missed(departed)
        self._expire(now)

    async def _name_missed(self, departed: dict[str, Progress]) -> None:
        for missed in await self._open_files.disk.run(self._rotation.missed, departed, self._is_known):
            if missed.file_id in self._catalogue.files and await self._open_files.agrees(missed.file, missed.file_id):
                continue  # a copy
            self._losses.add(
                missed.file.path,
                f"{missed.file.path}: looks like {missed.like} after a rotation, and was never read; set rotated to"
                " have such files read",
                missed.file.size,
            )

    def _is_known(self, inode: Inode) -> bool:
        return inode in self._view.inodes or self._catalogue.id_of(inode) is not None

    def _expire(self, now: float) -> None:
        for file_id in self._catalogue.expired(now):
            if self._catalogue.files[file_id].inode in self.jobs:
                self.departed.ending.add(file_id)
            elif file_id not in self.departed.written:
                self._open_files.forget(file_id)
