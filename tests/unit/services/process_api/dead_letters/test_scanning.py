"""The topics are read in portions, and the decisions only once."""

import asyncio
from contextlib import aclosing

import pytest

from services.process_api.dead_letters import scanning
from services.process_api.dead_letters.decisions import Decision, Status
from services.process_api.dead_letters.places import Place, Window
from services.process_api.dead_letters.scanning import DecisionLog, letters_of
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TakeRecords, TopicPartition
from shared.errors import Unavailable
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, reject


async def offsets(bus: MemoryBus, window: Window) -> list[int]:
    async with aclosing(letters_of(bus, TOPICS.dead_letter, window)) as portions:
        return [letter.place.offset async for letters in portions for letter in letters]


async def test_a_window_ends_where_it_should() -> None:
    desk = Desk()
    await desk.write(*(reject(number) for number in range(10)))
    assert await offsets(desk.bus, Window(0, 2, 6)) == [2, 3, 4, 5]


async def test_letters_that_retention_has_deleted_are_left_out() -> None:
    desk = Desk()
    await desk.write(*(reject(number) for number in range(10)))
    desk.bus.delete_records(TOPICS.dead_letter, 0, 4)
    assert await offsets(desk.bus, Window(0, 2, 6)) == [4, 5]
    assert await offsets(desk.bus, Window(0, 0, 3)) == []


async def test_a_window_of_a_topic_that_is_shorter_now_ends() -> None:
    desk = Desk()
    await desk.write(reject())
    assert await offsets(desk.bus, Window(0, 5, 9)) == []


async def test_decisions_are_read_from_where_they_were_read_before() -> None:
    desk = Desk()
    await desk.write(reject())
    log = DecisionLog(TOPICS)
    index = await log.refresh(desk.bus)
    async with desk.bus.appender() as appender:
        await appender.append(
            TOPICS.decisions, [Decision(Status.DROPPED, "a", "b", 0, index.epoch).record(Place(0, 0))]
        )
    assert await log.refresh(desk.bus) is index
    assert index.status(Place(0, 0)) is Status.DROPPED


async def test_decisions_are_read_again_where_their_log_was_deleted_or_the_topic_is_another() -> None:
    desk = Desk()
    await desk.write(reject(1), reject(2))
    await desk.drop(all=True)
    log = DecisionLog(TOPICS)
    await log.refresh(desk.bus)
    await desk.write(reject(3))
    await desk.drop(all=True)
    desk.bus.delete_records(TOPICS.decisions, 0, 3)
    assert (await log.refresh(desk.bus)).status(Place(0, 2)) is Status.OPEN
    desk.bus.delete_topic(TOPICS.dead_letter)
    await desk.write(reject(4))
    assert (await log.refresh(desk.bus)).status(Place(0, 0)) is Status.OPEN


class HiddenEnd(MemoryBus):
    """A bus on which an open transaction hides the end of every topic."""

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        return await asyncio.Event().wait() or 0


async def test_decisions_whose_end_is_hidden_are_an_error_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_REFRESH_TIMEOUT", 0.01)
    bus = HiddenEnd()
    await bus.ensure_topics(TOPICS.all())
    with pytest.raises(Unavailable, match="cannot be read to their end"):
        await DecisionLog(TOPICS).refresh(bus)
