"""Messages between a replica and the process of its shadows: a length, then bytes. Sans-I/O."""

import struct
from enum import StrEnum
from typing import NamedTuple

import msgspec

from shared.expression import exact

HEAD = struct.Struct("!I")

_encode = msgspec.msgpack.Encoder().encode


class Result(StrEnum):
    """How what the shadow makes of an event differs from what was published."""

    SAME = "same"
    DIFFERENT = "different"
    ONLY_OLD = "only_old"
    """The shadow makes no event."""
    ONLY_NEW = "only_new"
    """Nothing was published: the event was filtered out, or went to the dead letter."""
    FAILED = "failed"
    """The shadow rejects the event, waits for another system, or takes too long."""
    DROPPED = "dropped"
    """It was not compared: the shadow is slower than the pipeline."""


class Given(NamedTuple):
    """An event, and what the pipeline made of it."""

    pipeline: str
    value: bytes
    headers: list[tuple[str, bytes]]
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    old: list[tuple[bytes, bytes]] | None
    """The published events by their channels; None for a dead letter."""


class Verdict(NamedTuple):
    """What the shadow made of an event."""

    result: Result
    new: tuple[tuple[bytes, bytes], ...] = ()
    error: str = ""


_given = msgspec.msgpack.Decoder(Given).decode
_verdict = msgspec.msgpack.Decoder(Verdict).decode


def framed(content: bytes) -> bytes:
    """Return the bytes of a message."""
    return HEAD.pack(len(content)) + content


def pack(message: Given | Verdict) -> bytes:
    """Return a message with its length."""
    return framed(_encode(message))


def unpack_given(content: bytes) -> Given:
    """Read an event."""
    return _given(content)


def unpack_verdict(content: bytes) -> Verdict:
    """Read what the shadow made of one."""
    return _verdict(content)


def compared(old: list[tuple[bytes, bytes]] | None, new: list[tuple[bytes, bytes]]) -> Verdict:
    """Compare the events of two versions, by channel and content."""
    before = old or []
    if before == new or _values(before) == _values(new):
        return Verdict(Result.SAME)
    if not new:
        return Verdict(Result.ONLY_OLD)
    return Verdict(Result.DIFFERENT if before else Result.ONLY_NEW, tuple(new))


def _values(events: list[tuple[bytes, bytes]]) -> list[object]:
    return [(channel, exact.comparable(exact.value(value))) for channel, value in events]
