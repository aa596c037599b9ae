"""Input that could not be processed, as a record of the dead-letter topic that says where and why."""

from dataclasses import dataclass

from shared.bus.protocol import Outgoing

_ERROR_LIMIT = 2000

KEPT_BYTES = 65_536
"""Bytes that a dead letter keeps of a value that is too large: enough to recognise it by."""


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
    more if it was tried again because the bus refused it or did not answer, or a step took too long or had to wait."""

    def record(self) -> Outgoing:
        """Return the record for the dead-letter topic."""
        headers = (
            ("stage", self.stage.encode()),
            ("origin", self.origin.encode()),
            ("pipeline", self.pipeline.encode()),
            ("error", self.error[:_ERROR_LIMIT].encode(errors="replace")),
            ("attempts", str(self.attempts).encode()),
        )
        return Outgoing(self.id.encode(), self.value, headers)
