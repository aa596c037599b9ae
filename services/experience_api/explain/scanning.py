"""Reads the topics for a search, for some seconds. It joins no group and writes nothing."""

import asyncio

from services.experience_api.explain.search import Search, Stage
from shared.bus.protocol import Bus
from shared.bus.topics import TopicsOptions
from shared.errors import PositionLost
from shared.runtime.clock import Clock

_RECORDS = 1000
_WAIT = 0.2


async def scan(bus: Bus, topics: TopicsOptions, search: Search, seconds: float, clock: Clock) -> None:
    """Continue a search for some seconds, or until it is done.

    Raises:
        Unavailable: the bus does not answer.
    """
    deadline = clock.monotonic() + seconds
    while search.stage is not Stage.DONE and clock.monotonic() < deadline:
        if not search.begun:
            await _begin(bus, topics, search)
            continue
        await _read(bus, _topic(topics, search.stage), search, deadline, clock)


async def _begin(bus: Bus, topics: TopicsOptions, search: Search) -> None:
    topic = _topic(topics, search.stage)
    positions = await bus.offsets_at(topic, search.from_ms)
    ends = {number: end for number, (_, end) in (await bus.bounds(topic)).items()}
    if search.stage is Stage.INGEST:
        latest = await bus.offsets_at(topic, search.until + 1)
        ends = {number: min(end, latest[number]) for number, end in ends.items()}
    if search.stage is Stage.AUDIT:
        search.audit.epoch = await bus.epoch(topics.publish)
        search.audit.partitions = len(await bus.bounds(topics.publish))
    search.begin(positions, ends)


async def _read(bus: Bus, topic: str, search: Search, deadline: float, clock: Clock) -> None:
    stage = search.stage
    left = {number: offset for number, offset in search.positions.items() if offset < search.ends[number]}
    async with bus.reader(topic, left) as reader:
        while search.stage is stage and clock.monotonic() < deadline:
            try:
                records = await reader.read(_RECORDS, _WAIT)
            except PositionLost as exc:
                reader.seek(exc.partition, exc.earliest)
                continue
            search.take(records, reader.positions)
            await asyncio.sleep(0)


def _topic(topics: TopicsOptions, stage: Stage) -> str:
    others = {Stage.INGEST: topics.ingest, Stage.DEAD_LETTER: topics.dead_letter, Stage.AUDIT: topics.audit}
    return others.get(stage, topics.publish)
