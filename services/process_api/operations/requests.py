"""What operators ask of pipelines, and what partitions have carried out, as records of a compacted topic. No I/O."""

from collections.abc import Iterable, Iterator, Mapping
from copy import copy

import msgspec

from services.process_api.operations.starts import Starts

NAME = b"pipelines"
"""All keys begin with it."""

_CONTROL, _REWIND, _STARTS, _RELOAD = b"control", b"rewind", b"starts", b"reload"


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether a pipeline runs."""

    paused: bool = False
    reason: str = ""
    by: str = ""
    at: float = 0.0


class Rewind(msgspec.Struct, frozen=True):
    """A rewind: each partition carries it out once."""

    id: str
    epoch: str
    """Of the ingest topic."""
    to: dict[int, int]
    """The offset by partition."""
    place: str
    """What was asked: an offset, a time or `beginning`."""
    reset_state: bool
    by: str
    at: float


class Reload(msgspec.Struct, frozen=True):
    """A reload of the settings files of all replicas."""

    id: str
    node: str
    """The replica that has done it already."""


def reload_key() -> bytes:
    """Return the key of the newest reload."""
    return b"/".join((NAME, _RELOAD))


def control_key(pipeline: str) -> bytes:
    """Return the key of a pipeline's control."""
    return b"/".join((NAME, _CONTROL, pipeline.encode()))


def rewind_key(pipeline: str) -> bytes:
    """Return the key of a pipeline's newest rewind."""
    return b"/".join((NAME, _REWIND, pipeline.encode()))


def starts_key(partition: int) -> bytes:
    """Return the key of the starts of a partition."""
    return b"/".join((NAME, _STARTS, b"%d" % partition))


def encode(value: Control | Rewind | Starts | Reload) -> bytes:
    """Return the value of a record."""
    return msgspec.json.encode(value)


class Asked:
    """What the topic holds, as far as it was read."""

    def __init__(self) -> None:
        self.controls: dict[str, Control] = {}
        self.rewinds: dict[str, Rewind] = {}
        self.reload: Reload | None = None
        self._starts: dict[int, Starts] = {}

    @property
    def paused(self) -> set[str]:
        """The pipelines that are paused."""
        return {name for name, control in self.controls.items() if control.paused}

    def take(self, key: bytes, value: bytes) -> None:
        """Take a record; those of others are ignored.

        Raises:
            ValueError: it is one of these records, and cannot be read.
        """
        name, _, rest = key.partition(b"/")
        kind, _, about = rest.partition(b"/")
        if name != NAME:
            return
        if kind == _CONTROL:
            self.controls[about.decode()] = msgspec.json.decode(value, type=Control)
        elif kind == _REWIND:
            self.rewinds[about.decode()] = msgspec.json.decode(value, type=Rewind)
        elif kind == _RELOAD:
            self.reload = msgspec.json.decode(value, type=Reload)
        elif kind == _STARTS:
            self._starts[int(about)] = msgspec.json.decode(value, type=Starts)

    def with_record(self, key: bytes, value: bytes) -> "Asked":
        """Return what the topic holds with one more record. Raises `ValueError` as `take` does."""
        found = copy(self)
        found.controls, found.rewinds = {**self.controls}, {**self.rewinds}
        found._starts = {**self._starts}  # noqa: SLF001 -- of the same class
        found.take(key, value)
        return found

    def starts(self, partition: int, epoch: str) -> Starts:
        """Return the starts of a partition, those of none for another topic than that of this epoch."""
        found = self._starts.get(partition)
        return Starts(epoch) if found is None or found.epoch != epoch else found

    def pending(self, pipelines: Iterable[str], partition: int, starts: Starts) -> Iterator[tuple[str, Rewind]]:
        """Yield the rewinds of these pipelines that a partition with these starts has not carried out."""
        for pipeline in pipelines:
            rewind = self.rewinds.get(pipeline)
            if rewind is None or rewind.epoch != starts.epoch or partition not in rewind.to:
                continue
            if starts.carried_out.get(pipeline) != rewind.id:
                yield pipeline, rewind

    def progress(self, pipeline: str) -> Mapping[str, str]:
        """Return what came of the newest rewind of a pipeline, by partition: `pending` or `done`."""
        rewind = self.rewinds[pipeline]
        return {
            str(partition): (
                "done" if self.starts(partition, rewind.epoch).carried_out.get(pipeline) == rewind.id else "pending"
            )
            for partition in sorted(rewind.to)
        }
