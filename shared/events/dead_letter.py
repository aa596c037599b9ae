"""Input that could not be processed, as a record of the dead-letter topic that says where and why.

A dead letter that holds an event can be replayed: the record of the replay says which letter it comes from.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from shared.bus.protocol import Headers, Outgoing

_ERROR_LIMIT = 2000

KEPT_BYTES = 65_536
"""Bytes that a dead letter keeps of a value that is too large: enough to recognise it by."""

REPLAY = "trelay-replay"
"""The header of a record that an operator replays."""

EDITED = "trelay-edited"
"""The header of a replayed record whose event an operator has edited: the name of the dead letter that held it before.
Further replays of the edited event keep it."""

REPLAY_ORIGIN = "trelay-replay-origin"
"""The header of a record that an operator replays as it was: partition and offset of the record that was rejected."""

INPUT_KEY, INPUT_PROVENANCE, INPUT_PART = "input-key", "input-provenance", "input-part"
INPUT_EDITED, INPUT_REWINDS = "input-edited", "input-rewinds"
"""Of the record that was rejected: its key, and its headers `trelay-provenance`, `trelay-part` and `trelay-edited`
where it had them; and the rewinds of the pipeline, see `Reject.rewinds`."""

_REPLAY = re.compile(r"([0-9]{1,9}-[0-9]{1,18}) ([0-9]{1,9}) (.*)", re.DOTALL)
_ORIGIN = re.compile(r"(?:.*/)?([0-9]{1,9})/([0-9]{1,18})", re.DOTALL)


class Content(StrEnum):
    """What the value of a dead letter is."""

    EVENT = "event"
    """A record of the ingest topic, as it came."""
    INPUT = "input"
    """What a source read; no event was made of it."""
    RESULT = "result"
    """An event that a step of a pipeline made, such as the result of a window."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that is not an event, or an event that a pipeline refused."""

    id: str
    """The event's id, or the source's name and the position where there is no event; the same after a retry."""
    value: bytes
    """The input, unaltered."""
    error: str
    """One sentence; it names the place: path, line, byte range, column, attribute or step."""
    stage: str
    """`source`, `pipeline` or `entity`."""
    origin: str
    """`source:path:line`, or `topic/partition/offset`."""
    pipeline: str = ""
    """Name and version of the pipeline that refused the event, e.g. `orders@3f2a`; empty where none did."""
    attempts: int = 1
    """How often this replica tried it, since it took over the source or the partition. 1 if it was rejected at once;
    more if it was tried again because the bus refused it or did not answer, or a step took too long or had to wait.
    The attempts of the dead letters that it was replayed from are added."""
    content: Content = Content.INPUT
    key: bytes | None = None
    """The key of the record that was rejected, so that a replay has the same order; None where there is no record."""
    provenance: bytes | None = None
    """The header `trelay-provenance` of that record."""
    truncated: int = 0
    """The bytes of the input where `value` is only its beginning, else 0."""
    replay_of: str = ""
    """The name of the dead letter that this one was replayed from."""
    part: bytes | None = None
    """The header `trelay-part` of that record: the part of the pipeline that refused it; None for the first one."""
    edited: str = ""
    """The header `trelay-edited` of that record."""
    rewinds: str = ""
    """How many rewinds of the pipeline its partition had carried out, and the epoch of the topic of that record."""

    def record(self) -> Outgoing:
        """Return the record for the dead-letter topic."""
        headers: list[tuple[str, bytes]] = [
            ("stage", self.stage.encode()),
            ("origin", self.origin.encode()),
            ("pipeline", self.pipeline.encode()),
            ("error", self.error[:_ERROR_LIMIT].encode(errors="replace")),
            ("attempts", str(self.attempts).encode()),
            ("content", self.content.encode()),
        ]
        if self.key is not None:
            headers.append((INPUT_KEY, self.key))
        if self.provenance is not None:
            headers.append((INPUT_PROVENANCE, self.provenance))
        if self.truncated:
            headers.append(("truncated", str(self.truncated).encode()))
        if self.replay_of:
            headers.append(("replay-of", self.replay_of.encode()))
        if self.part is not None:
            headers.append((INPUT_PART, self.part))
        if self.edited:
            headers.append((INPUT_EDITED, self.edited.encode()))
        if self.rewinds:
            headers.append((INPUT_REWINDS, self.rewinds.encode()))
        return Outgoing(self.id.encode(), self.value, tuple(headers))


class Replay(NamedTuple):
    """What the record of a replayed dead letter says of it, in the header `trelay-replay`."""

    letter: str
    """The name of the dead letter: its partition and its offset."""
    attempts: int
    """How often its event was tried before."""
    pipeline: str
    """The pipeline that alone takes the event now: the one that refused it, unless the operator named another one.
    Empty where none refused it, and all take it that would."""
    edited: str = ""
    """The name of the dead letter that held the event before it was edited; empty for an event as it came. It has a
    header of its own."""
    origin: tuple[int, int] | None = None
    """The partition and the offset of the record of the ingest topic that was rejected, where this one is the same: not
    where it is edited now, and not where an older release replayed it. It has a header of its own."""

    def headers(self) -> Headers:
        """Return the headers."""
        found = [(REPLAY, f"{self.letter} {self.attempts} {self.pipeline}".encode())]
        if self.edited:
            found.append((EDITED, self.edited.encode()))
        if self.origin is not None:
            found.append((REPLAY_ORIGIN, b"%d/%d" % self.origin))
        return tuple(found)


def origin_in(text: str) -> tuple[int, int] | None:
    """Return the partition and the offset at the end of `topic/partition/offset`; None where they are not there."""
    found = _ORIGIN.fullmatch(text)
    return None if found is None else (int(found[1]), int(found[2]))


def replay_in(headers: Headers) -> Replay | None:
    """Return what the headers of a record say of its replay; None where it is none."""
    for name, value in headers:
        # A header that another program wrote may have no value.
        if name == REPLAY and (found := _REPLAY.fullmatch((value or b"").decode(errors="replace"))) is not None:
            edited, origin = (
                next((value or b"" for name, value in headers if name == wanted), b"").decode(errors="replace")
                for wanted in (EDITED, REPLAY_ORIGIN)
            )
            return Replay(found[1], int(found[2]), found[3], edited, origin_in(origin))
    return None
