"""What a stateful step sees: values by key, timers, and the time. Sans-I/O, but for the store."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from services.process_api.state.changes import MISSING, Layers
from services.process_api.state.keys import NUMBER, TIME_BYTES, VALUE, bounded, prefix_of, time_key, time_of
from services.process_api.state.store import Size

_UNKNOWN = -1
"""A time before all timers: when the first one is due has to be found out."""


@dataclass(slots=True)
class Moment:
    """The record that is processed, or the time without one."""

    key: bytes = b""
    """Of the record: all records of one key are in one partition."""
    timestamp: int = 0
    """When the record was written to the bus, in milliseconds since 1970; `now` where there is no record."""
    now: int = 0
    """Milliseconds since 1970. It does not jump while the partition runs here."""
    idle: bool = False
    """Whether there is no record, and none waits."""
    provenance: bytes = b""
    """Of the record, packed."""
    since: int = 0
    """When a record was processed last in this run, or the run has seen that there is none; as `now`."""


class Timer(NamedTuple):
    """A time at which a key is due."""

    at: int
    """Milliseconds since 1970, of the clock that the step uses."""
    key: bytes


class PipelineState:
    """The provisional changes of one pipeline."""

    def __init__(self, layers: Layers, moment: Moment) -> None:
        self.layers = layers
        self.moment = moment
        self.provisional: dict[bytes, bytes | None] = {}
        self.steps: list[StepState] = []

    def keep(self) -> None:
        """Add the provisional changes to the open transaction."""
        self.layers.open.update(self.provisional)
        self.provisional.clear()
        for step in self.steps:
            step.keep()

    def undo(self) -> None:
        """Drop the provisional changes."""
        self.provisional.clear()
        for step in self.steps:
            step.undo()


class StepState:
    """The state of one instance of a step in one partition."""

    def __init__(self, pipeline: PipelineState, instance: int) -> None:
        self._pipeline = pipeline
        self._layers = pipeline.layers
        self._prefix = prefix_of(instance)
        self._values = self._prefix + VALUE
        self._began = False
        self._next: dict[bytes, int | None] = {}
        """By the kind of timers: a time before which there is none; None if there are none at all.

        Timers are sought from there on. Before it are only deleted ones, which RocksDB passes one by one (its
        tombstones) until it has compacted them.
        """
        self._kept_next: dict[bytes, int | None] = {}
        """What `_next` was before the provisional changes, of the kinds for which they have changed it."""
        pipeline.steps.append(self)

    @property
    def size(self) -> Size:
        """How much state is committed."""
        return self._layers.store.sizes.get(self._prefix, Size())

    @property
    def moment(self) -> Moment:
        """The record that is processed, and the time."""
        return self._pipeline.moment

    def begins(self) -> bool:
        """Whether this is the first call in this run of the partition."""
        began, self._began = self._began, True
        return not began

    def keep(self) -> None:
        """Keep what is known of timers: the provisional changes stay."""
        self._kept_next.clear()

    def undo(self) -> None:
        """Restore what was known of timers before the provisional changes; where nothing was, it is found out."""
        self._next.update(self._kept_next)
        self._kept_next.clear()

    def get(self, key: bytes) -> bytes | None:
        """Return a value, None where there is none."""
        return self._get(self._values + bounded(key))

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value."""
        self._pipeline.provisional[self._values + bounded(key)] = value

    def delete(self, key: bytes) -> None:
        """Delete a value, if there is one."""
        self._delete(self._values + bounded(key))

    def number(self, name: bytes) -> int | None:
        """Return a number of the step itself, such as a watermark."""
        found = self._get(self._prefix + NUMBER + name)
        return None if found is None else int(found)

    def set_number(self, name: bytes, value: int) -> None:
        """Set a number of the step itself."""
        self._pipeline.provisional[self._prefix + NUMBER + name] = b"%d" % value

    def set_timer(self, kind: bytes, at: int, key: bytes) -> None:
        """Make a key due at a time; `kind` is `EVENT_TIMER` or `WALL_TIMER`."""
        self._pipeline.provisional[self._timer(kind, at, key)] = b""
        known = self._next.get(kind, _UNKNOWN)
        if known is None or at < known:
            self._set_next(kind, at)

    def clear_timer(self, kind: bytes, at: int, key: bytes) -> None:
        """Remove a timer, if there is one."""
        self._delete(self._timer(kind, at, key))

    def next_timer(self, kind: bytes) -> int | None:
        """Return a time before which no timer of a kind is due; None if there is none."""
        known = self._next.get(kind, _UNKNOWN)
        if known == _UNKNOWN:
            first = next(self._timers(kind, 0), None)
            known = None if first is None else first.at
            self._set_next(kind, known)
        return known

    def take_due(self, kind: bytes, until: int, limit: int) -> list[Timer]:
        """Remove the timers of a kind up to a time (inclusive), `limit` at most, and return them in order."""
        first = self.next_timer(kind)
        if first is None or first > until:
            return []
        found = list(islice(self._timers(kind, first), limit + 1))
        due = [timer for timer in found[:limit] if timer.at <= until]
        for timer in due:
            self._delete(self._timer(kind, *timer))
        rest = found[len(due) :]
        self._set_next(kind, rest[0].at if rest else None)
        return due

    def take_beyond(self, kind: bytes, until: int, limit: int) -> list[Timer]:
        """Remove the timers of a kind after a time, `limit` at most: those that a clock made that was ahead."""
        due = list(islice(self._timers(kind, until + 1), limit))
        for timer in due:
            self._delete(self._timer(kind, *timer))
        return due

    def _set_next(self, kind: bytes, at: int | None) -> None:
        self._kept_next.setdefault(kind, self._next.get(kind, _UNKNOWN))
        self._next[kind] = at

    def _timers(self, kind: bytes, start: int) -> Iterator[Timer]:
        prefix = self._prefix + kind
        skip = len(prefix)
        found = self._layers.scan(prefix + time_key(start), prefix + b"\xff" * TIME_BYTES, self._pipeline.provisional)
        for key in found:
            yield Timer(time_of(key[skip:]), key[skip + TIME_BYTES :])

    def _timer(self, kind: bytes, at: int, key: bytes) -> bytes:
        return self._prefix + kind + time_key(at) + bounded(key)

    def _get(self, key: bytes) -> bytes | None:
        found = self._pipeline.provisional.get(key, MISSING)
        if found is not MISSING:
            return found if isinstance(found, bytes) else None
        return self._layers.get(key)

    def _delete(self, key: bytes) -> None:
        if self._get(key) is not None:
            self._pipeline.provisional[key] = None
