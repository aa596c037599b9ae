"""Serves one subscriber from its cursor until it is live: first from the bus, then from memory.

A subscriber comes here with a cursor, or because it read too slowly to be served live. Each has its own task meanwhile,
and no other subscriber waits for it. A subscriber with conflation stays here: it is served in rounds.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from pydantic import Field

from services.experience_api.hub.close_codes import INTERNAL
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.heartbeat import Position
from services.experience_api.stream.catching_up.conflation import SharedRounds
from services.experience_api.stream.catching_up.replay_writer import CHUNK, CatchUpCounts, ReplayWriter
from services.experience_api.stream.catching_up.resubscribing import Resubscription
from services.experience_api.stream.catching_up.rounds import Rounds, SharedKey
from services.experience_api.stream.control_events import ControlEvents
from services.experience_api.stream.history import History
from services.experience_api.stream.log_reader import LogReaderOptions
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.wire.cursor import Vector
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks
from shared.settings import Options


class CatchUpOptions(Options):
    """How subscribers catch up."""

    log_reader: LogReaderOptions = LogReaderOptions()
    """How much of the publish topic is read again at a time."""

    drain_timeout: float = Field(default=30.0, gt=0)
    """Seconds in which a subscriber has to read something of what is buffered for it, however little. It is closed as
    too slow otherwise, and has as many seconds again in which the Close frame may reach it."""


@dataclass(slots=True)
class _Running:
    """One subscriber that catches up, or has conflation."""

    replay: Replay
    rounds: Rounds
    cursor: bytes
    """Of what was written, without conflation. What was read of the log lies before the cursor of the replay."""
    task: asyncio.Task[None] | None = None


class CatchUp:
    """Owns the tasks of the subscribers that catch up."""

    def __init__(
        self,
        history: History,
        writer: ReplayWriter,
        control_events: ControlEvents,
        join: Callable[[Connection], None],
        *,
        round_bytes: int,
        clock: Clock,
        on_round: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """`join` makes a connection live. It is called in the same step in which nothing is left to send.

        `round_bytes` is the memory that a connection with conflation uses at most. `on_round` takes each such
        connection when its latest events have been written.
        """
        self._history = history
        self._writer = writer
        self._control_events = control_events
        self._join = join
        self._round_bytes = round_bytes
        self._clock = clock
        self._shared: SharedRounds[SharedKey] = SharedRounds()
        self._on_round = on_round
        self._tasks = Tasks()
        self._running: dict[Connection, _Running] = {}
        self._progress: asyncio.Future[None] | None = None
        self._changes: dict[Connection, list[Resubscription]] = {}

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._tasks.cancel_all()

    def start(self, connection: Connection, vector: Vector, *, tells: bool = False) -> None:
        """Send a connection that is in no audience everything from a vector on, then make it live.

        `tells` announces large events with a control event before each.
        """
        interest = connection.subscriber.interest
        replay = Replay(self._history, vector, interest.matches, interest.wants, interest.selecting)
        if tells:
            self._writer.tell(replay)
        rounds = Rounds(
            connection, replay, self._writer, self._clock, self.wait_for_progress, self._shared, self._round_bytes
        )
        at_once = not (connection.congested or replay.ahead or connection.outbox.window)
        if interest.conflate:
            if at_once:
                rounds.begin()
        else:
            self.counts.started += 1
            if at_once and self._send(connection, replay, *replay.take(CHUNK)) is Progress.LIVE:
                return
        self._running[connection] = _Running(replay, rounds, replay.cursor)
        self._start_task(connection)

    def change(self, connection: Connection, change: Resubscription) -> bool:
        """Change what a connection receives once it has been written what was read for it.

        Returns False if it does not catch up, which changes nothing.
        """
        running = self._running.get(connection)
        if running is None:
            return False
        if running.rounds.resting and running.task is not None:
            # It has been written everything that was read for it, and may rest for long.
            running.task.cancel()
            change.make_in(running.replay, connection, self._control_events)
            self._start_task(connection)
        else:
            self._changes.setdefault(connection, []).append(change)
            self.notify_progress()
        return True

    def take_changes(self, connection: Connection) -> list[Resubscription]:
        """Return the changes of a connection that have not been made, and forget them."""
        return self._changes.pop(connection, [])

    def cancel(self, connection: Connection) -> None:
        """Send a connection nothing more."""
        running = self._running.pop(connection, None)
        if running is not None and running.task is not None:
            running.task.cancel()

    def cancel_all(self) -> list[Connection]:
        """Cancel every connection that is catching up, and return them."""
        cancelled = list(self._running)
        for connection in cancelled:
            self.cancel(connection)
        return cancelled

    def position(self, connection: Connection) -> Position | None:
        """Return how far a connection has been served; None if it is served live."""
        running = self._running.get(connection)
        if running is None:
            return None
        if connection.subscriber.interest.conflate:
            return Position(running.rounds.cursor, running.replay.lag, live=running.rounds.resting)
        return Position(running.cursor, running.replay.lag, live=False)

    def is_served(self, connection: Connection) -> bool:
        """Return whether a connection with conflation has been written the latest events up to the head."""
        running = self._running.get(connection)
        if running is None or not connection.subscriber.interest.conflate:
            return False  # without conflation, what was read is not written yet, as long as it is here
        return running.rounds.complete and not running.replay.lag

    async def caught_up(self, connection: Connection) -> None:
        """Wait until a connection has been written everything up to the head, or is written nothing more.

        One with conflation may be waited for longer.
        """
        while not self.is_served(connection) and (running := self._running.get(connection)) is not None:
            if running.task is not None:
                await asyncio.wait([running.task])

    @property
    def counts(self) -> CatchUpCounts:
        """The counts so far."""
        return self._writer.counts

    @property
    def active(self) -> int:
        """How many connections are catching up."""
        return sum(not running.rounds.resting for running in self._running.values())

    @property
    def conflated(self) -> int:
        """How many connections have conflation."""
        return sum(bool(connection.subscriber.interest.conflate) for connection in self._running)

    def notify_progress(self) -> None:
        """Wake the replays that wait for this replica to read on."""
        if self._progress is not None:
            self._progress.set_result(None)
            self._progress = None

    async def wait_for_progress(self) -> None:
        """Wait until this replica has read on, or a connection changes."""
        if self._progress is None:
            self._progress = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._progress)

    def _start_task(self, connection: Connection) -> None:
        running = self._running[connection]
        name = f"catch up {connection.subscriber.connection_id}"
        running.task = self._tasks.start(name, self._run(connection, running))

    async def _run(self, connection: Connection, running: _Running) -> None:
        try:
            if running.replay.ahead:
                await self._writer.verify_ahead(connection, running.replay)
            await self._catch_up(connection, running)
        except Exception:
            self._running.pop(connection, None)
            connection.end(INTERNAL)
            raise
        del self._running[connection]

    async def _catch_up(self, connection: Connection, running: _Running) -> None:
        replay = running.replay
        while True:
            if connection.subscriber.interest.conflate and connection not in self._changes:
                await running.rounds.rest()
            await self._writer.drained(connection)
            if connection in self._changes:
                await running.rounds.flush()
            for change in self.take_changes(connection):
                change.make_in(replay, connection, self._control_events)
            if connection.subscriber.interest.conflate:
                await running.rounds.run(lambda: connection in self._changes)
                self._on_round(connection)
                continue
            progress = await self._step(connection, replay)
            running.cursor = replay.cursor
            match progress:
                case Progress.LIVE:
                    return
                case Progress.READ_LOG:
                    found = await self._writer.read_log(connection, replay)
                    await self._writer.write(connection, replay, found.frames, found.gaps)
                    running.cursor = replay.cursor
                case Progress.WAIT:
                    await self.wait_for_progress()
                case Progress.TAKE:
                    await asyncio.sleep(0)

    async def _step(self, connection: Connection, replay: Replay) -> Progress:
        """Write one chunk of what memory holds; make the connection live if that was all and its buffer is low."""
        frames, progress = replay.take(CHUNK)
        if await self._writer.prepare(connection, frames):
            progress = Progress.TAKE  # this replica may have read on meanwhile
        return self._send(connection, replay, frames, progress)

    def _send(self, connection: Connection, replay: Replay, frames: list[bytes], progress: Progress) -> Progress:
        self._writer.force(connection, replay, frames)
        if progress is Progress.LIVE:
            if connection.congested:
                return Progress.TAKE  # once it has drained
            self._join(connection)
        return progress
