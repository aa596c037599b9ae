"""Lines that have begun and have no end yet. No I/O. Times are of a monotonic clock."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.system_api.sources.file.reading.jobs import Job
from services.system_api.sources.file.reading.opened import IncompleteLine

_BRIEFLY = 5.0
"""Seconds that a line may be incomplete before the source is not caught up: most writers are about to end it."""
_OPEN_QUOTE = 60.0
"""Seconds that a quote may be open, with lines behind it, before that is a problem, and rows behind it are searched."""
_SHOWN = 20
"""Lines that are named one by one."""


@dataclass(slots=True)
class _Incomplete:
    job: Job
    offset: int
    since: float
    text: str
    behind: int
    """Complete lines behind that of an open quote; -1 if no quote is open."""
    abandoned: bool = False
    """Whether the rows behind the quote were searched."""


class IncompleteLines:
    """The incomplete last lines of files, by id."""

    def __init__(self) -> None:
        self._lines: dict[str, _Incomplete] = {}

    def note(self, job: Job, found: IncompleteLine | None, now: float) -> None:
        """Note what a file ends with, when its end was read."""
        assert job.file_id is not None, "it was read"
        if found is None:
            self._lines.pop(job.file_id, None)
            return
        before = self._lines.get(job.file_id)
        same = before is not None and before.offset == found.offset
        place = f"{job.file.path}: line {found.line}"
        text = f"{place}: its end has not come yet ({found.size} bytes)"
        if found.behind >= 0:
            text = (
                f"{place}: a quote is open; {found.behind} lines behind it wait until it is closed or the row exceeds"
                " line_limit"
            )
        since = before.since if before is not None and same else now
        self._lines[job.file_id] = _Incomplete(job, found.offset, since, text, found.behind)

    def forget(self, file_id: str) -> None:
        """Forget a file that ends no longer with an incomplete line."""
        self._lines.pop(file_id, None)

    def due(self, now: float) -> Iterable[Job]:
        """Return the files whose rows behind an open quote are to be searched: read them to their end again."""
        return [each.job for each in self._lines.values() if self._is_due(each, now)]

    def abandons(self, file_id: str, now: float) -> bool:
        """Whether to search the rows behind an open quote now; each time that is due, true once."""
        found = self._lines.get(file_id)
        if found is None or not self._is_due(found, now):
            return False
        found.abandoned = True
        return True

    def waiting(self, now: float) -> Sequence[str]:
        """Return as text what has waited for more than a moment."""
        texts = [each.text for each in self._lines.values() if now - each.since >= _BRIEFLY]
        more = len(texts) - _SHOWN
        return texts if more <= 0 else [*texts[:_SHOWN], f"and {more} more lines like these"]

    def problems(self, now: float) -> Sequence[str]:
        """Return the quotes as text that have been open for too long."""
        return [each.text for each in self._lines.values() if each.behind > 0 and now - each.since >= _OPEN_QUOTE]

    def _is_due(self, line: _Incomplete, now: float) -> bool:
        return line.behind > 0 and not line.abandoned and now - line.since >= _OPEN_QUOTE
