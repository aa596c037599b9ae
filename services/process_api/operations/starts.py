"""From which offset each pipeline runs in one partition: after a rewind, one pipeline runs again where others have run.

A partition has one committed offset for all pipelines. A rewind moves it back, and notes in the same transaction where
each pipeline goes on: records before that place are not run through it. No I/O.
"""

from collections.abc import Iterable

import msgspec

from services.process_api.pipeline.pipeline import Pipeline


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
        return min(committed, to), Starts(self.epoch, others, kept, carried_out)
