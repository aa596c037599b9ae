"""What the bus still keeps of the publish topic, for subscribers that come from further back than memory reaches."""

import asyncio
from collections.abc import Callable, Mapping

from pydantic import Field

from services.experience_api.stream.replay import Replay
from shared.bus.protocol import Bus
from shared.errors import PositionLost, Unavailable
from shared.settings import Options

_RECORDS = 500
_WAIT = 0.1
"""Seconds for one read. Where nothing is left to read, positions still move on, past the ends of transactions."""

SayGap = Callable[[PositionLost], bytes]
"""Makes the frame that tells a subscriber what it lost."""


class PastOptions(Options):
    """How much may be read back at once."""

    readers: int = Field(default=8, ge=1, le=1000)
    """Subscribers that are fed from the bus at one time; the others wait for their turn, live ones for nobody."""

    portion_bytes: int = Field(default=1024 * 1024, ge=1024)
    """What one subscriber is given before it is another's turn, and what it may cost in memory meanwhile."""


class Past:
    """Reads the publish topic a second time, a portion for a subscriber at a time."""

    def __init__(self, bus: Bus, topic: str, options: PastOptions) -> None:
        self._bus = bus
        self._topic = topic
        self._options = options
        self._turns = asyncio.Semaphore(options.readers)

    async def portion(self, replay: Replay, say_gap: SayGap) -> list[bytes]:
        """Return the next frames of a replay that is `lost`, until it is not or the portion is full.

        No turn is held while a subscriber makes room: what is returned is all that one costs meanwhile.

        Raises:
            Unavailable: the bus does not answer, or the log ends before what the subscriber has. If it does so for
                long, the feed finds out as well and tells everybody.
        """
        frames: list[bytes] = []
        try:
            async with self._turns:
                await self._read(replay, say_gap, frames)
        except Unavailable:
            if not frames:
                raise  # else the next portion finds out; for these, the replay counts already as having them
        return frames

    async def _read(self, replay: Replay, say_gap: SayGap, frames: list[bytes]) -> None:
        missing = replay.missing()
        size = 0
        async with self._bus.reader(self._topic, missing) as reader:
            while size < self._options.portion_bytes and replay.lacks(missing):
                try:
                    records = await reader.read(_RECORDS, _WAIT)
                except PositionLost as lost:
                    if lost.earliest < lost.offset:  # going on from there would repeat what it has
                        raise Unavailable(f"{self._topic} seems to have become shorter: {lost}") from lost
                    reader.seek(lost.partition, lost.earliest)
                    replay.skip(lost.partition, lost.earliest)
                    found = [say_gap(lost)]
                else:
                    found = replay.absorb(records, reader.positions)
                frames += found
                size += sum(map(len, found))

    async def ends(self) -> Mapping[int, int]:
        """Return the offset after the last record of each partition.

        Raises:
            Unavailable: the bus does not answer.
        """
        bounds = await self._bus.bounds(self._topic)
        return {partition: end for partition, (_, end) in bounds.items()}
