"""The events that a pipeline makes: counts, limits, and which are for subscribers or for its next part. Sans-I/O."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.process_api.pipeline.part import Forwarded
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.worker.waiting import Result
from shared.bus.protocol import RECORD_LIMIT, Outgoing, Record, size_of

SURELY_FITS = RECORD_LIMIT - 65_536
"""A value of so many bytes fits, whatever its key and headers are."""


@dataclass(slots=True)
class Tally:
    """Counts of the events that one pipeline took."""

    taken: int = 0
    published: int = 0
    rejected: int = 0
    forwarded: Counter[int] = field(default_factory=Counter)
    """Events that were written for a later part of the pipeline, by its number."""
    continued: Counter[int] = field(default_factory=Counter)
    """Events that a later part took, by its number."""


class Shadowed(NamedTuple):
    """What a pipeline made of one record, for the comparison with its shadow."""

    pipeline: str
    version: str
    """Of the pipeline: another one may run by the time of the comparison."""
    record: Record
    result: Result


def checked(result: Result, event_limit: int) -> Result:
    """Return the outputs of one event, or why one of them is too large; only subscribers have the `event_limit`."""
    if isinstance(result, Rejected):
        return result
    for output in result:
        size = len(output[1] or b"")
        if size > event_limit and not isinstance(output, Forwarded):
            limit = f"{event_limit} (see `bus.topics.largest_frame`)"
            return Rejected(f"the event would have {size} bytes, the limit is {limit}")
        if size > SURELY_FITS and size_of(output) > RECORD_LIMIT:
            return Rejected(f"the event would have {size_of(output)} bytes, the limit is {RECORD_LIMIT}")
    return result


def parted(
    outputs: Iterable[Outgoing], tally: Tally, generation: int, partition: int, offset: int
) -> tuple[list[Outgoing], list[Outgoing]]:
    """Return the events for the publish topic, and those for the ingest topic with the header of their part.

    `tally` counts the latter. The place is that of the record that they were made from; `generation` counts the rewinds
    that its partition has carried out.
    """
    published: list[Outgoing] = []
    forwarded: list[Outgoing] = []
    for output in outputs:
        if isinstance(output, Forwarded):
            part = output.part._replace(generation=generation, partition=partition, offset=offset)
            forwarded.append(Outgoing(output.key, output.value, (*output.headers, part.header())))
            tally.forwarded[part.number] += 1
        else:
            published.append(output)
    return published, forwarded
