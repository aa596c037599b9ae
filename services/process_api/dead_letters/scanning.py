"""Reads the topics of dead letters and of decisions."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from services.process_api.dead_letters.decisions import DecisionIndex
from services.process_api.dead_letters.letter import Letter
from services.process_api.dead_letters.places import Window
from shared.bus.bounded import bounded
from shared.bus.protocol import Bus, Record, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import PositionLost

_RECORDS = 500
"""Records of one read."""
_WAIT = 0.1
_REFRESH_TIMEOUT = 10.0
_HIDDEN = "the decisions on dead letters cannot be read to their end now; try again"


async def letters_of(bus: Bus, topic: str, window: Window) -> AsyncGenerator[Sequence[Letter], None]:
    """Yield the letters of a window, oldest first; none while the bus does not answer, so that the caller can give up.

    Letters that retention deletes meanwhile are left out.
    """
    number = window.partition
    async with bus.reader(topic, {number: window.first}) as reader:
        while (at := reader.positions[number]) < window.end:
            records: Sequence[Record] = ()
            try:
                records = await reader.read(_RECORDS, _WAIT)
            except PositionLost as exc:
                if exc.earliest <= at:
                    return  # the topic ends before the window: it is not the one that was scanned
                reader.seek(number, exc.earliest)
            yield [Letter.of(record) for record in records if record.offset < window.end]


class DecisionLog:
    """The decisions, as far as this replica has read them; each refresh reads those that are new."""

    def __init__(self, topics: TopicsOptions) -> None:
        self._topics = topics
        self._epochs = ("", "")
        self._offset: int | None = None
        self._index = DecisionIndex("")
        self._lock = asyncio.Lock()

    async def refresh(self, bus: Bus) -> DecisionIndex:
        """Return the decisions, including all that were committed before the call.

        Raises:
            Unavailable: the bus does not answer.
        """
        async with self._lock:
            epochs = (await bus.epoch(self._topics.dead_letter), await bus.epoch(self._topics.decisions))
            if epochs != self._epochs:
                self._begin(epochs)
            place = TopicPartition(self._topics.decisions, 0)
            async with bounded(_REFRESH_TIMEOUT, _HIDDEN):
                try:
                    self._offset = await bus.replay(place, self._offset, self._index.take)
                except PositionLost:
                    self._begin(epochs)
                    self._offset = await bus.replay(place, None, self._index.take)
            return self._index

    def _begin(self, epochs: tuple[str, str]) -> None:
        self._epochs, self._offset, self._index = epochs, None, DecisionIndex(epochs[0])
