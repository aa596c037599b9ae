"""What a stateful step sees: values by key, timers, and the time. Sans-I/O, but for the store."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

from services.process_api.state.changes import MISSING, Layer, Layers
from services.process_api.state.keys import (
    ITEM,
    NUMBER,
    TIME_BYTES,
    TIMERS,
    VALUE,
    bounded,
    prefix_of,
    time_key,
    time_of,
)
from services.process_api.state.store import Size
from services.process_api.state.timers import Timers
from shared.bus.protocol import RECORD_LIMIT
from shared.errors import Malformed

LARGEST_VALUE = RECORD_LIMIT - 65_536
"""Bytes of the largest value: its record of the changelog fits the bus, whatever its key is."""


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
        self.provisional = Layer()
        self.steps: list[StepState] = []

    def keep(self) -> None:
        """Add the provisional changes to the open transaction."""
        self.layers.add(self.provisional)
        self._clear()
        for step in self.steps:
            step.keep()

    def undo(self) -> None:
        """Drop the provisional changes."""
        self._clear()
        for step in self.steps:
            step.undo()

    def _clear(self) -> None:
        self.provisional.clear()
        if self.provisional.items_in_order:
            self.provisional.items_in_order.clear()


class StepState:
    """The state of one instance of a step in one partition."""

    def __init__(self, pipeline: PipelineState, instance: int) -> None:
        self._pipeline = pipeline
        self._layers = pipeline.layers
        self._prefix = prefix_of(instance)
        self._values = self._prefix + VALUE
        self._items = self._prefix + ITEM
        self._began = False
        self.limited = False
        """Whether values above `LARGEST_VALUE` are refused: while an event is processed, which can be rejected."""
        self._timers = {kind: Timers(partial(self._scan, self._prefix + kind)) for kind in TIMERS}
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
        """Note that the provisional changes stay."""
        for timers in self._timers.values():
            timers.keep()

    def undo(self) -> None:
        """Note that the provisional changes were dropped."""
        for timers in self._timers.values():
            timers.undo()

    def get(self, key: bytes) -> bytes | None:
        """Return a value, None where there is none."""
        return self._get(self._values + bounded(key))

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value. Raises `Malformed` where they are `limited`."""
        self._check(value)
        self._pipeline.provisional[self._values + bounded(key)] = value

    def delete(self, key: bytes) -> None:
        """Delete a value, if there is one."""
        self._delete(self._values + bounded(key))

    def items(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        """Return the items from one key to before another, in the order of their keys, with their values."""
        skip = len(self._items)
        found = self._layers.items(self._items + start, self._items + stop, self._pipeline.provisional)
        return [(key[skip:], value) for key, value in found]

    def put_item(self, key: bytes, value: bytes) -> None:
        """Set an item. Its key has `LONGEST_KEY` bytes at most. Raises as `put` does."""
        self._check(value)
        self._change_item(key, value)

    def delete_item(self, key: bytes) -> None:
        """Delete an item."""
        self._change_item(key, None)

    def _check(self, value: bytes) -> None:
        if self.limited and len(value) > LARGEST_VALUE:
            raise Malformed(f"its state would have {len(value)} bytes, the limit is {LARGEST_VALUE}")

    def _change_item(self, key: bytes, value: bytes | None) -> None:
        whole, provisional = self._items + key, self._pipeline.provisional
        provisional[whole] = value
        provisional.items_in_order.add(whole)

    def number(self, name: bytes) -> int | None:
        """Return a number of the step itself, such as a watermark."""
        found = self._get(self._prefix + NUMBER + name)
        return None if found is None else int(found)

    def set_number(self, name: bytes, value: int) -> None:
        """Set a number of the step itself."""
        self._pipeline.provisional[self._prefix + NUMBER + name] = b"%d" % value

    def set_timer(self, kind: bytes, at: int, key: bytes) -> None:
        """Make a key due at a time; `kind` is `EVENT_TIMER` or `WALL_TIMER`."""
        timer = time_key(at) + bounded(key)
        self._pipeline.provisional[self._prefix + kind + timer] = b""
        self._timers[kind].add(timer)

    def clear_timer(self, kind: bytes, at: int, key: bytes) -> None:
        """Remove a timer, if there is one."""
        timer = time_key(at) + bounded(key)
        self._delete(self._prefix + kind + timer)
        self._timers[kind].discard(timer)

    def next_timer(self, kind: bytes) -> int | None:
        """Return a time before which no timer of a kind is due; None if there is none."""
        return self._timers[kind].next()

    def take_due(self, kind: bytes, until: int, limit: int) -> list[Timer]:
        """Remove the timers of a kind up to a time (inclusive), `limit` at most, and return them in order."""
        due = self._timers[kind].take_due(until, limit)
        for timer in due:
            self._delete(self._prefix + kind + timer)
        return [_timer(timer) for timer in due]

    def take_beyond(self, kind: bytes, until: int, limit: int) -> list[Timer]:
        """Remove the timers of a kind after a time, `limit` at most: those that a clock made that was ahead."""
        due = list(islice(self._scan(self._prefix + kind, time_key(until + 1)), limit))
        for timer in due:
            self._delete(self._prefix + kind + timer)
            self._timers[kind].discard(timer)
        return [_timer(timer) for timer in due]

    def _scan(self, table: bytes, start: bytes) -> Iterator[bytes]:
        """Yield the timers of a table from one on."""
        skip = len(table)
        for key in self._layers.scan(table + start, table + b"\xff" * TIME_BYTES, self._pipeline.provisional):
            yield key[skip:]

    def _get(self, key: bytes) -> bytes | None:
        found = self._pipeline.provisional.get(key, MISSING)
        if found is not MISSING:
            return found if isinstance(found, bytes) else None
        return self._layers.get(key)

    def _delete(self, key: bytes) -> None:
        if self._get(key) is not None:
            self._pipeline.provisional[key] = None


def _timer(timer: bytes) -> Timer:
    return Timer(time_of(timer), timer[TIME_BYTES:])
