"""Composes the snapshots of a stream."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.experience_api.latest.opening import Latest
from services.experience_api.stream.catching_up.replay_writer import ReplayWriter
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReader
from services.experience_api.stream.snapshots.beginning import Beginnings
from services.experience_api.stream.snapshots.sending import Proceed, Snapshots
from shared.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class SnapshotParts:
    """The parts of a stream that its snapshots need."""

    history: History
    log_reader: LogReader
    writer: ReplayWriter
    control_events: ControlEvents
    clock: Clock
    pause: Callable[[], Awaitable[None]]

    def snapshots(self, latest: Latest | None, proceed: Proceed) -> Snapshots | None:
        """Return the snapshots of the latest events; None without any."""
        if latest is None:
            return None
        options = latest.options
        return Snapshots(
            latest.events,
            Beginnings(latest.events, options.channels, self.history, self.log_reader, self.clock),
            self.history,
            self.writer,
            self.control_events,
            proceed,
            readers=options.readers,
            page_bytes=options.page_bytes,
            pause=self.pause,
        )
