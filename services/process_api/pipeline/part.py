"""The parts of a pipeline that a step `repartition` divides: how an event goes on from one part to the next. Sans-I/O.

An event that leaves a part is written to the ingest topic again, with its new subject as the key, in the transaction of
the input that it was made from. Its header says which part takes it. So the next part has the guarantees of the first
one: one order for each subject, state in the partition of its input, and each event once.
"""

import re
from typing import NamedTuple

from shared.bus.protocol import Headers, Outgoing

PART = "trelay-part"
"""The header of a record that goes on in a later part of a pipeline."""

_PART = re.compile(r"([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,9}) ([0-9]{1,18}) (\S+) (\S*)(?: (\S+))?")


class Part(NamedTuple):
    """What the header says."""

    pipeline: str
    number: int
    """Of the part that takes the event: 1 is the one behind the first `repartition`."""
    channel: str = ""
    """The channel that the event has so far; empty where it has none."""
    generation: int = 0
    """How many rewinds of the pipeline the partition had carried out that the event comes from."""
    partition: int = 0
    """The partition of the ingest topic that the event comes from."""
    offset: int = 0
    """The offset there."""
    edited: str = ""
    """The name of the dead letter that held the event before an operator edited it; empty for an event as it came."""

    def header(self) -> tuple[str, bytes]:
        """Return the header."""
        numbers = f"{self.number} {self.generation} {self.partition} {self.offset}"
        edited = f" {self.edited}" if self.edited else ""
        return PART, f"{numbers} {self.pipeline} {self.channel}{edited}".encode()


class Forwarded(Outgoing):
    """An event for the next part of its pipeline; its key is its subject."""

    part: Part


def parse_part(value: bytes) -> Part:
    """Read the value of the header; one that cannot be read names no pipeline."""
    found = _PART.fullmatch(value.decode(errors="replace"))
    if found is None:
        return Part("", 0)
    number, generation, partition, offset, pipeline, channel, edited = found.groups()
    return Part(pipeline, int(number), channel, int(generation), int(partition), int(offset), edited or "")


def part_in(headers: Headers) -> Part | None:
    """Return what the headers of a record say of its part; None where it goes through a pipeline from the beginning."""
    for name, value in headers:
        if name == PART:
            return parse_part(value or b"")  # one that another program wrote may have no value
    return None
