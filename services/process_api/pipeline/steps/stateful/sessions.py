"""The open sessions of a group, so that an event costs what it changes. Sans-I/O.

Nearly all groups have few: they are one value. Those of a group with more have a value each, and the value of the group
says when they start. Releases before that had the first form alone.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence

import msgspec

from services.process_api.pipeline.steps.stateful.results import Open
from services.process_api.pipeline.steps.stateful.windows import Span, touch
from services.process_api.state.keys import time_key
from services.process_api.state.step_state import StepState
from shared.errors import Malformed

_FEW = 8
"""Sessions that one value holds: each event of the group writes them again."""

MOST = 1000
"""Sessions of one group that are open at once: `lateness` may hold so many gaps."""


class _Many(msgspec.Struct):
    """The sessions of a group, by their starts, in order."""

    starts: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Open] | _Many).decode
_decode_one = msgspec.msgpack.Decoder(Open).decode


def touching(group: bytes, span: Span, state: StepState) -> list[Open]:
    """Return the open sessions that a span touches, oldest first; a span of the gap touches two at most."""
    found = _load(group, state)
    if isinstance(found, list):
        return [each for each in found if touch(each.span, span)]
    # They do not overlap: those that start before the end of the span, the last ones of them, may touch it.
    last = bisect_left(found.starts, span.end)
    sessions = [_one(group, start, state) for start in found.starts[max(0, last - 2) : last]]
    return [each for each in sessions if touch(each.span, span)]


def replace(group: bytes, before: Sequence[Open], after: Open | None, state: StepState) -> None:
    """Put a session in the place of others.

    Raises:
        Malformed: too many are open. What is changed by then has to be undone.
    """
    found, gone = _load(group, state), {each.start for each in before}
    if isinstance(found, list):
        left = [each for each in found if each.start not in gone]
        if after is not None:
            left.append(after)
        if len(left) <= _FEW:
            _put(group, left, state)
            return
        for each in left:
            state.put(_key(group, each.start), _encode(each))
        starts = sorted(each.start for each in left)
    else:
        for start in gone:
            state.delete(_key(group, start))
        starts = [start for start in found.starts if start not in gone]
        if after is not None:
            state.put(_key(group, after.start), _encode(after))
            starts.insert(bisect_left(starts, after.start), after.start)
        if starts == found.starts:
            return
    if len(starts) > MOST:
        raise Malformed(f"{MOST} sessions of one subject are open; a larger `session` makes fewer")
    _put(group, _Many(starts) if starts else [], state)


def of_start(group: bytes, start: int, state: StepState) -> Open | None:
    """Return the session that starts at a time; None if there is none."""
    found = _load(group, state)
    if isinstance(found, list):
        return next((each for each in found if each.start == start), None)
    return _one(group, start, state) if start in found.starts else None


def _put(group: bytes, sessions: list[Open] | _Many, state: StepState) -> None:
    if sessions == []:
        state.delete(group)
    else:
        state.put(group, _encode(sessions))


def _load(group: bytes, state: StepState) -> list[Open] | _Many:
    packed = state.get(group)
    return [] if packed is None else _decode(packed)


def _one(group: bytes, start: int, state: StepState) -> Open:
    packed = state.get(_key(group, start))
    assert packed is not None, "each start has its session"
    return _decode_one(packed)


def _key(group: bytes, start: int) -> bytes:
    # Groups have other keys: text with a length in front, or a digest alone.
    return hashlib.sha256(group).digest() + time_key(start)
