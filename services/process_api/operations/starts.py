"""From which offset each pipeline runs in one partition: after a rewind, one pipeline runs again where others have run.

A partition has one committed offset for all pipelines. A rewind moves it back, and notes in the same transaction where
each pipeline goes on: records before that place are not run through it. No I/O.
"""

from collections.abc import Iterable

import msgspec

from services.process_api.pipeline.part import Part
from services.process_api.pipeline.pipeline import Pipeline
from shared.events.dead_letter import Replay

_CUTS = 16
"""Rewinds of one pipeline of which the offsets are kept: as many may be carried out while one event waits."""


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """A rewind of a pipeline: it runs from here on again. If `repartition` divides it, its first part does."""

    number: int
    """Of the rewind; see `Starts.number`."""
    to: dict[int, int]
    """The offset by partition."""


class Starts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is saved of one partition."""

    epoch: str = ""
    """Of the ingest topic; see `Bus.epoch`. Offsets of another topic of its name mean nothing."""
    others: int = 0
    """The offset from which all other pipelines run."""
    of: dict[str, int] = {}
    """By pipeline."""
    carried_out: dict[str, str] = {}
    """The id of the newest rewind that was carried out, by pipeline."""
    settled: dict[str, int] = {}
    """By pipeline that `repartition` divides: the offset before which the events of its later parts are done with."""
    cuts: dict[str, list[Cut]] = {}
    """By pipeline: its newest rewinds, in order."""

    @property
    def end(self) -> int:
        """The offset from which all pipelines run."""
        return max((self.others, *self.of.values()))

    def start(self, pipeline: str) -> int:
        """Return the offset from which a pipeline runs."""
        return self.of.get(pipeline, self.others)

    def running(self, pipelines: Iterable[Pipeline], offset: int) -> tuple[Pipeline, ...]:
        """Return those of these pipelines that run on the record at an offset."""
        return tuple(pipeline for pipeline in pipelines if offset >= self.start(pipeline.name))

    def rewound(self, pipeline: str, committed: int, to: int | None, request: str) -> "tuple[int, Starts]":
        """Return the offset to commit and the starts after a rewind of a pipeline, as a request of this id asks.

        `committed` is the committed offset. A pipeline that has not reached `to` stays where it is.
        """
        carried_out = self.carried_out | {pipeline: request}
        if to is None or to >= max(committed, self.start(pipeline)):
            return committed, msgspec.structs.replace(self, carried_out=carried_out)
        others = max(committed, self.others)
        of = {name: max(committed, at) for name, at in self.of.items()} | {pipeline: to}
        kept = {name: at for name, at in of.items() if at != others}
        made = msgspec.structs.replace(self, others=others, of=kept, carried_out=carried_out)
        return min(committed, to), made

    def number(self, pipeline: str) -> int:
        """Return the number of the newest rewind of a pipeline that was carried out here, 0 for none."""
        return number_of(self.carried_out.get(pipeline, ""))

    def rewinds(self, pipeline: str) -> str:
        """Return what a dead letter of a pipeline says of its rewinds: the number of the newest one, and the epoch."""
        return f"{self.number(pipeline)} {self.epoch}"

    def cut(self, pipeline: str, committed: int, request: str, to: dict[int, int], *, divided: bool) -> "Starts":
        """Note a rewind of a pipeline before it is carried out as `rewound` says.

        If `repartition` has `divided` it, all that the later parts have read here is done with. What waits for them,
        and comes from behind the place that the rewind names, is left out: the first part makes it again.
        """
        settled = {pipeline: max(self.settled.get(pipeline, 0), committed, self.start(pipeline))} if divided else {}
        cuts = [*self.cuts.get(pipeline, ()), Cut(number_of(request), to)][-_CUTS:]
        return msgspec.structs.replace(self, settled=self.settled | settled, cuts=self.cuts | {pipeline: cuts})

    def runs(self, part: Part, offset: int) -> bool:
        """Return whether a later part of a pipeline runs on the record at an offset."""
        return offset >= self.settled.get(part.pipeline, 0) and not self._makes_again(part)

    def repeats(self, pipeline: str, place: tuple[int, int], replay: Replay, part: Part | None) -> bool:
        """Return whether a rewind lets a pipeline run again on the event that the record at a place replays.

        Such a record was processed before the rewind. The event does not run twice for it: it is that of the record
        that was rejected, or one that the first part makes again.
        """
        partition, offset = place
        if replay.origin is None:
            return False
        if part is not None and not replay.edited:
            return offset < self.settled.get(pipeline, 0) and self._makes_again(part)
        number, at = replay.origin
        # One behind the replay itself was in an earlier topic of this name.
        return number == partition and self.start(pipeline) <= at < offset < self.others

    def _makes_again(self, part: Part) -> bool:
        """Return whether the first part of a pipeline makes an event again that waits for a later one."""
        return self.runs_again(part.pipeline, part.generation, (part.partition, part.offset))

    def runs_again(self, pipeline: str, number: int, place: tuple[int, int]) -> bool:
        """Return whether a rewind with a greater number than this lets a pipeline run again on the event at a place."""
        partition, offset = place
        later = [cut.to.get(partition) for cut in self.cuts.get(pipeline, ()) if cut.number > number]
        return any(to is not None and offset >= to for to in later)


def number_of(request: str) -> int:
    """Return the number that the id of a rewind begins with; 0 for an id without one."""
    number, dash, _ = request.partition("-")
    return int(number) if dash and number.isascii() and number.isdigit() else 0
