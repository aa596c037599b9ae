"""The events that wait for others, by group and side, so that an event costs what it changes. Sans-I/O.

Nearly all groups are small: their events are one value, oldest first. The events of a larger one are items, by time,
and the value says how many there are. Releases before that had the first form alone.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from services.process_api.pipeline.steps.stateful.stored import Stored
from services.process_api.state.keys import EVENT_TIMER, time_key
from services.process_api.state.step_state import StepState
from shared.errors import Malformed

_SMALL, _SMALL_BYTES = 8, 8192
"""Events of a small group, and the bytes of several: each event of the group writes them again."""

MOST, MOST_BYTES = 10_000, 16 * 1024 * 1024
"""Events of one group and one side that wait, and their bytes: one event may meet them all."""

_DIGEST = 16
_NUMBER_BYTES = 8
_FIRST = bytes(_NUMBER_BYTES)


class Waiting(msgspec.Struct, array_like=True):
    """An event that waits for others."""

    at: int
    event: Stored
    matched: bool = False


class _Large(msgspec.Struct):
    """A large group."""

    count: int = 0
    size: int = 0
    """Bytes of its items."""
    next: int = 0
    """The number of the event that comes next: their order of arrival."""


class Kept(NamedTuple):
    """An event that waits, and where."""

    waiting: Waiting
    item: bytes | None
    """Its key, in a large group."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Waiting] | _Large).decode
_decode_one = msgspec.msgpack.Decoder(Waiting).decode


def between(key: bytes, first: int, last: int, state: StepState) -> list[Kept]:
    """Return the events of a group with times from `first` to `last`, both inclusive, as they arrived."""
    found = _load(key, state)
    if isinstance(found, list):
        return [Kept(each, None) for each in found if first <= each.at <= last]
    items = state.items(_item(key, first, _FIRST), _item(key, last + 1, _FIRST))
    return [Kept(_decode_one(value), item) for item, value in sorted(items, key=lambda each: each[0][-_NUMBER_BYTES:])]


def add(key: bytes, own: Waiting, state: StepState) -> None:
    """Let an event wait.

    Raises:
        Malformed: too many wait. What is changed by then has to be undone.
    """
    found = _load(key, state)
    large = _put(key, [*found, own], state) if isinstance(found, list) else _put_items(key, found, [own], state)
    if large is not None and (large.count > MOST or large.size > MOST_BYTES):
        raise Malformed(
            f"{large.count} events of one subject and source wait, of {large.size} bytes;"
            f" the limits are {MOST} and {MOST_BYTES}: a smaller `within` keeps fewer"
        )
    state.set_timer(EVENT_TIMER, own.at, key)


def mark(key: bytes, matches: Iterable[Kept], state: StepState) -> None:
    """Note that these events of a group have met another one."""
    new = {(each.item, each.waiting.at) for each in matches if not each.waiting.matched}
    found = _load(key, state) if any(item is None for item, _ in new) else None
    if isinstance(found, list):
        times = {at for _, at in new}
        for waiting in found:
            waiting.matched = waiting.matched or waiting.at in times
        _put(key, found, state)
        return
    for waiting, item in matches:
        if item is not None and not waiting.matched:
            state.put_item(item, _encode(Waiting(waiting.at, waiting.event, matched=True)))


def take(key: bytes, at: int, state: StepState) -> list[Waiting]:
    """Remove the events of a group with a time, and return them as they arrived."""
    found = _load(key, state)
    if isinstance(found, list):
        _put(key, [each for each in found if each.at != at], state)
        return [each for each in found if each.at == at]
    items = state.items(_item(key, at, _FIRST), _item(key, at + 1, _FIRST))
    for item, _ in items:
        state.delete_item(item)
    count, size = found.count - len(items), found.size - sum(len(value) for _, value in items)
    if count:
        state.put(key, _encode(_Large(count, size, found.next)))
    else:
        state.delete(key)
    return [_decode_one(value) for _, value in items]


def _put(key: bytes, events: list[Waiting], state: StepState) -> _Large | None:
    """Write all events of a group as one value; as items, and return their number, where they are too many for that."""
    if not events:
        state.delete(key)
        return None
    packed = _encode(events)
    if len(events) == 1 or (len(events) <= _SMALL and len(packed) <= _SMALL_BYTES):
        state.put(key, packed)
        return None
    return _put_items(key, _Large(), events, state)


def _put_items(key: bytes, found: _Large, events: Iterable[Waiting], state: StepState) -> _Large:
    """Add events to a large group; return how large it is then."""
    for each in events:
        value = _encode(each)
        state.put_item(_item(key, each.at, found.next.to_bytes(_NUMBER_BYTES, "big")), value)
        found = _Large(found.count + 1, found.size + len(value), found.next + 1)
    state.put(key, _encode(found))
    return found


def _load(key: bytes, state: StepState) -> list[Waiting] | _Large:
    packed = state.get(key)
    return [] if packed is None else _decode(packed)


def _item(key: bytes, at: int, number: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_DIGEST] + time_key(at) + number
