"""Serves one connection with conflation: every so often, the latest event of each subject since the last time.

Nothing is kept for it between two rounds but its place in the stream: a round takes from memory, or from the log, what
has come since. So a subscriber that reads slowly has longer rounds, in which more is left out, and not a longer queue.
"""

import asyncio
from collections.abc import Awaitable, Callable

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.connection import Connection
from services.experience_api.stream.catching_up.conflation import Round, SharedRounds
from services.experience_api.stream.catching_up.replay_writer import CHUNK, ReplayWriter
from services.experience_api.stream.replay import Progress, Replay
from shared.runtime.clock import Clock

_LONGEST = 10.0
"""Seconds after which a round is written although there is more to read: a connection that catches up from far back,
and is lost every now and then, must get on."""


_CHUNKS_AT_ONCE = 4
"""Chunks that are taken in one step, some milliseconds: usually all of a round, which the others then take as it is."""

SharedKey = tuple[Interest, int, int]
"""What is received, and the sequence numbers of the first event and of the one behind the last."""


class Rounds:
    """The rounds of one connection."""

    def __init__(
        self,
        connection: Connection,
        replay: Replay,
        writer: ReplayWriter,
        clock: Clock,
        wait_for_progress: Callable[[], Awaitable[None]],
        shared: SharedRounds[SharedKey],
        limit: int,
    ) -> None:
        """`limit` is the bytes of memory that a round uses at most, `shared` the rounds of all connections."""
        self._shared = shared
        self._connection = connection
        self._replay = replay
        self._writer = writer
        self._clock = clock
        self._wait_for_progress = wait_for_progress
        self._round = Round(limit)
        self._gaps: list[bytes] = []
        self._not_before = clock.monotonic()
        self._rests = False
        self.complete = True
        """Whether everything that was taken for the connection has been written."""
        self.cursor = replay.cursor
        """Of what was written."""

    @property
    def resting(self) -> bool:
        """Whether the connection waits for its next round, and was written everything that was taken for it."""
        return self._rests and self._round.empty

    def begin(self) -> None:
        """Write the first round at once if memory holds all of it, and a connection that is not compressed reads on."""
        frames, progress = self._replay.take(CHUNK)
        self._round.add(frames)
        self.complete = self._round.empty
        if self.complete:
            self.cursor = self._replay.cursor  # what it has passed is for others
        elif progress in {Progress.LIVE, Progress.WAIT}:
            self._writer.force(self._connection, self._replay, self._taken())
            self._written(full=False)

    async def rest(self) -> None:
        """Wait until the next round may begin, and there may be something for it."""
        self._rests = True
        try:
            if self._round.empty and not self._replay.lag:
                await self._wait_for_progress()
            pause = self._not_before - self._clock.monotonic()
            if pause > 0:
                await self._clock.sleep(pause)
        finally:
            self._rests = False

    async def run(self, interrupted: Callable[[], bool]) -> None:
        """Take what has come, until `interrupted`, and write it."""
        self.complete = False
        from_memory = await self._collect(interrupted)
        full = self._round.full
        gaps, self._gaps = self._gaps, []
        # Other connections are written the same frames, if they are from memory.
        await self._writer.write(self._connection, self._replay, self._taken(), gaps, keep=from_memory)
        self._written(full=full)

    async def flush(self) -> None:
        """Write what was taken before: a change of what the connection receives holds behind it."""
        if not self._round.empty:
            await self._writer.write(self._connection, self._replay, self._taken())
            self._written(full=True)

    async def _collect(self, interrupted: Callable[[], bool]) -> bool:
        """Take the frames of a round; return whether all of them are from memory."""
        until = self._clock.monotonic() + max(_LONGEST, self._connection.subscriber.interest.conflate)
        first = self._replay.place if self._round.empty else None
        if first is not None and (taken := self._shared.find(self._key(first))) is not None:
            self._round.repeat(taken)
            self._replay.pass_all()
            return True
        from_memory, chunks = True, 0
        while True:
            frames, progress = self._replay.take(CHUNK)
            self._round.add(frames)
            if progress in {Progress.LIVE, Progress.WAIT}:
                if first is not None and from_memory and progress is Progress.LIVE:
                    self._shared.keep(self._key(first), self._round.taken)
                return from_memory
            chunks += 1
            if progress is Progress.READ_LOG:
                from_memory = False
                found = await self._writer.read_log(self._connection, self._replay)
                self._round.add(found.frames)
                self._gaps += found.gaps
            elif chunks % _CHUNKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self._round.full or interrupted() or self._clock.monotonic() > until:
                return from_memory

    def _key(self, first: int) -> SharedKey:
        return self._connection.subscriber.interest, first, self._replay.end

    def _taken(self) -> list[bytes]:
        self._writer.counts.conflated += self._round.replaced
        self._round.replaced = 0
        return self._round.take()

    def _written(self, *, full: bool) -> None:
        """Set when the next round may begin: at once if what was taken was not all because it is much."""
        self.complete = True
        pause = 0.0 if full else self._connection.subscriber.interest.conflate
        self._not_before = self._clock.monotonic() + pause
        self.cursor = self._replay.cursor
