"""How what could not be processed is put aside: nothing is lost, and whoever looks sees where and why."""

from dataclasses import dataclass

from shared.bus.protocol import Outgoing

_ERROR_LIMIT = 2000


@dataclass(frozen=True, slots=True)
class Reject:
    """Input that an event could not be made from, or that a step refused."""

    id: str
    """The event's id where there is one, else the source's name and the place; the same after a retry."""
    value: bytes
    """What came in, unaltered."""
    error: str
    """One sentence that names the place: path, line, byte range, column, attribute, step."""
    stage: str
    """`source`, `pipeline` or `entity`."""
    origin: str
    """`source:path:line`, or `topic/partition/offset`."""
    pipeline: str = ""
    """Name and version of the pipeline, e.g. `orders@3f2a`, where one was at work."""
    attempts: int = 1
    """How often this replica has tried it since it took it over: 1 where it was refused at once; more where it was
    tried again, because the bus refused it or did not answer, or a step took too long or had to wait."""

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
