"""The watermarks that wait until what is below them is processed. Sans-I/O.

A watermark of a source names offsets of the ingest topic. Once the group has committed them, every event below has
become events on the publish topic, dead letters, or nothing; or events for the next part of a pipeline that a step
`repartition` divides, which are on the ingest topic again. So a watermark waits once for each part: each time for the
end of the ingest topic as it was after the time before.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import msgspec

from services.process_api.pipeline.pipeline import Pipeline
from shared.events.watermark import Watermark


@dataclass(frozen=True, slots=True)
class Waiting:
    """A watermark, and how far it is."""

    mark: Watermark
    parts: int = 1
    """The parts of the pipelines for which it waits, this one included."""


class WaitingMarks:
    """Of each source the watermark that is waited for, and the newest one."""

    def __init__(self) -> None:
        self._current: dict[str, Waiting] = {}
        self._newest: dict[str, Watermark] = {}
        self._epoch = ""
        self._processed: dict[int, int] = {}

    def add(self, mark: Watermark) -> None:
        """Add a watermark about the ingest topic."""
        if mark.epoch != self._epoch:  # the topic was recreated
            self._epoch = mark.epoch
            self._current, self._newest, self._processed = {}, {}, {}
        if mark.source in self._current:
            self._newest[mark.source] = mark
        else:
            self._current[mark.source] = Waiting(mark)

    def unknown(self) -> list[int]:
        """Return the partitions of which must be known how far they are processed."""
        return sorted(
            {
                number
                for waiting in self._current.values()
                for number, end in enumerate(waiting.mark.ends)
                if self._processed.get(number, 0) < end
            }
        )

    def processed(self, positions: Mapping[int, int]) -> None:
        """Note the offsets below which everything has been processed once; a rewind does not undo that."""
        for number, offset in positions.items():
            self._processed[number] = max(offset, self._processed.get(number, 0))

    def passed(self) -> list[Waiting]:
        """Return the watermarks of which all that they wait for is processed. They wait on until `end` or `go_on`."""
        return [waiting for waiting in self._current.values() if waiting.mark.passed_by(self._processed)]

    def end(self, waiting: Waiting) -> None:
        """Note that a watermark is done with."""
        source = waiting.mark.source
        del self._current[source]
        if (newest := self._newest.pop(source, None)) is not None:
            self._current[source] = Waiting(newest)

    def go_on(self, waiting: Waiting, ends: list[int]) -> None:
        """Let a watermark wait for the next part of the pipelines, whose events are below `ends`."""
        mark = msgspec.structs.replace(waiting.mark, ends=ends)
        self._current[mark.source] = replace(waiting, mark=mark, parts=waiting.parts + 1)


def parts_of(pipelines: Iterable[Pipeline]) -> int:
    """Return the most parts of a pipeline."""
    return max((pipeline.parts for pipeline in pipelines), default=1)


def channels_for(pipelines: Iterable[Pipeline]) -> list[str]:
    """Return the channels for which a watermark of a source holds, of the pipelines that take its events.

    Not those of a pipeline that may keep an event, or the result of one, for later.
    """
    certain: set[str] = set()
    held: set[str] = set()
    for pipeline in pipelines:
        if pipeline.holds and pipeline.channels is None:
            return []
        (held if pipeline.holds else certain).update(pipeline.channels or ())
    return sorted(certain - held)
