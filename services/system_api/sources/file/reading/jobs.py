"""The files that may have something to read, in the order in which they are read. No I/O."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from services.system_api.sources.file.filesystem import FileStat, Inode


@dataclass(slots=True)
class Job:
    """A file that may have something to read."""

    file: FileStat
    file_id: str | None
    """None until a new file has been opened."""
    candidates: Sequence[str] = ()
    """Missing files of the same name: if the contents of one agree, this is that file."""
    departed: bool = False
    """Whether no path of the source leads to it any more: it is read to its end, but not again if it is rewritten."""


class Outcome(Enum):
    """What reading a file led to."""

    MORE = "more"
    """The file may have more to read."""
    END = "end"
    """Everything in the file has been read; it is open."""
    SKIPPED = "skipped"
    """Nothing can be read from the file now; it is closed."""
    REWRITTEN = "rewritten"
    """What was read is no longer in the file: it is a new file. What is known of the old one is still there."""


class Jobs:
    """A queue of jobs, one for each inode: a file that keeps growing is read after all others."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[Inode, Job] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __contains__(self, inode: Inode) -> bool:
        return inode in self._jobs

    @property
    def first(self) -> Job:
        """The job that is next."""
        return next(iter(self._jobs.values()))

    def all(self) -> list[Job]:
        """Return all jobs, in their order."""
        return list(self._jobs.values())

    def add(self, job: Job) -> None:
        """Add a job behind all others, also when there is one for the file."""
        self._jobs.pop(job.file.inode, None)
        self._jobs[job.file.inode] = job

    def add_first(self, jobs: Sequence[Job]) -> None:
        """Add jobs before all others, in their order: a file that was rotated is read before its successor."""
        for job in reversed(jobs):
            self._jobs.pop(job.file.inode, None)
            self._jobs[job.file.inode] = job
            self._jobs.move_to_end(job.file.inode, last=False)

    def remove(self, inode: Inode) -> Job | None:
        """Remove the job of a file, and return it if there is one."""
        return self._jobs.pop(inode, None)
