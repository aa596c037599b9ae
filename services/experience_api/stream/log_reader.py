"""Reads the publish topic on the bus, for subscribers whose cursor lies further back than the history in memory."""

import asyncio
from collections.abc import Callable, Mapping

from pydantic import Field

from services.experience_api.stream.replay import Replay
from services.experience_api.wire.cursor import Vector
from shared.bus.protocol import Bus
from shared.errors import PositionLost, Unavailable
from shared.settings import Options

_RECORDS = 500
_WAIT = 0.1
"""Seconds for one read. If nothing is left to read, positions still advance past the ends of transactions."""

_PASSED = 16
"""Chunks of events that are read in one turn at most, whether they are for the subscriber or not: about as much as one
fetch brings, so that little of it is fetched again in the next turn."""

MakeGap = Callable[[PositionLost], bytes]
"""Encodes the gap event for lost records."""


class LogReaderOptions(Options):
    """How much is read from the bus at once."""

    readers: int = Field(default=8, ge=1, le=1000)
    """Subscribers served from the bus at one time. The others wait for their turn; live ones never wait."""

    chunk_bytes: int = Field(default=1024 * 1024, ge=1024)
    """Bytes read for one subscriber before the next one's turn, and the memory one subscriber uses meanwhile."""


class LogReader:
    """Reads the publish topic a second time, one chunk for one subscriber at a time."""

    def __init__(self, bus: Bus, topic: str, options: LogReaderOptions) -> None:
        self._bus = bus
        self._topic = topic
        self._options = options
        self._turns = asyncio.Semaphore(options.readers)

    async def read_chunk(self, replay: Replay, make_gap: MakeGap) -> list[bytes]:
        """Return the next frames for a replay with missing partitions, until none is missing or the chunk is full.

        A chunk with few frames ends as well, once much was read for it: others wait for their turn.


        No turn is held while the subscriber drains: the returned frames are all the memory it uses meanwhile.

        Raises:
            Unavailable: the bus does not answer, or the log ends before what the subscriber has received. If that
                persists, the feed detects it as well and reports it to every subscriber.
        """
        frames: list[bytes] = []
        try:
            async with self._turns:
                await self._read(replay, make_gap, frames)
        except Unavailable:
            if not frames:
                raise  # otherwise the next chunk fails; the replay already counts these frames as received
        return frames

    async def _read(self, replay: Replay, make_gap: MakeGap, frames: list[bytes]) -> None:
        missing = replay.missing()
        size = passed = 0
        most = self._options.chunk_bytes
        async with self._bus.reader(self._topic, missing) as reader:
            while size < most and passed < _PASSED * most and replay.needs(missing):
                try:
                    records = await reader.read(_RECORDS, _WAIT)
                except PositionLost as lost:
                    if lost.earliest < lost.offset:  # reading from there would repeat what it has received
                        raise Unavailable(f"{self._topic} appears truncated: {lost}") from lost
                    reader.seek(lost.partition, lost.earliest)
                    replay.skip(lost.partition, lost.earliest)
                    found = [make_gap(lost)]
                else:
                    found = replay.add(records, reader.positions)
                    passed += sum(len(record.value or b"") for record in records)
                frames += found
                size += sum(map(len, found))

    async def vector_at(self, seconds: float) -> Vector:
        """Return the offsets at which the events of a time begin, in seconds since 1970; 0 for the earliest ones.

        Where the events of that time may be kept no longer, the offset lies before the earliest one: a subscriber that
        begins there is told of the gap.

        Raises:
            Unavailable: the bus does not answer.
        """
        async with self._turns:
            bounds = await self._bus.bounds(self._topic)
            if not seconds:
                return tuple(bounds[partition][0] for partition in range(len(bounds)))
            found = await self._bus.offsets_at(self._topic, int(seconds * 1000))
        return tuple(_since(found[partition], bounds[partition][0]) for partition in range(len(bounds)))

    async def ends(self) -> Mapping[int, int]:
        """Return the offset after the last record of each partition.

        Raises:
            Unavailable: the bus does not answer.
        """
        bounds = await self._bus.bounds(self._topic)
        return {partition: end for partition, (_, end) in bounds.items()}

    async def earliest(self) -> Mapping[int, int]:
        """Return the earliest offset of each partition that is kept. Raises what `ends` does."""
        async with self._turns:
            bounds = await self._bus.bounds(self._topic)
        return {partition: first for partition, (first, _) in bounds.items()}


def _since(offset: int, earliest: int) -> int:
    """Return where to begin: the events before the earliest offset may have been of the time in question, too."""
    return earliest - 1 if earliest > 0 and offset <= earliest else offset
