"""Decisions on letters that are gone are deleted, and none is made on those of another topic."""

from collections.abc import Mapping

import pytest

from services.process_api.dead_letters import decisions
from services.process_api.dead_letters.places import Place
from services.process_api.dead_letters.scanning import DecisionLog
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, reject
from tests.unit.services.process_api.dead_letters.test_deciding import FastClock


class Retaining(MemoryBus):
    """A bus whose retention has deleted the first dead letters."""

    def __init__(self) -> None:
        super().__init__()
        self.earliest = 0

    async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
        found = await super().bounds(topic)
        if topic == TOPICS.dead_letter:
            return {number: (max(first, self.earliest), end) for number, (first, end) in found.items()}
        return found


async def test_all_decisions_on_letters_that_are_gone_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_TOMBSTONES", 10)
    bus = Retaining()
    desk = Desk(bus)
    await desk.write(*(reject(number) for number in range(60)))
    await desk.drop(all=True)
    bus.earliest = 55
    await desk.write(reject(60))
    await desk.drop(ids=["0-60"])
    index = await DecisionLog(TOPICS).refresh(bus)
    decided = [number for number in range(61) if index.of(Place(0, number)) is not None]
    assert decided == [55, 56, 57, 58, 59, 60]


async def test_nothing_is_decided_where_the_topic_was_created_anew_meanwhile() -> None:
    """Another replica may have decided on the letters that have these places now."""

    class Anew(MemoryBus):
        asked = 0

        async def epoch(self, topic: str) -> str:
            self.asked += topic == TOPICS.dead_letter
            return f"{await super().epoch(topic)}-{self.asked > 1}"

    desk = Desk(Anew(), clock=FastClock())
    await desk.write(reject(1))
    with pytest.raises(Unavailable, match="created anew"):
        await desk.replay(all=True)
    assert desk.numbers() == []
