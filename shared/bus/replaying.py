"""Reads a partition up to an end that is known, for the buses whose end is exact."""

from shared.bus.protocol import Bus, TakeRecords, TopicPartition
from shared.errors import PositionLost

_WAIT = 0.1


async def replay_to_end(bus: Bus, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
    """Do what `Bus.replay` says, on a bus whose `bounds` are never stale."""
    topic, number = position
    earliest, end = (await bus.bounds(topic))[number]
    start = earliest if offset is None else offset
    if start > end:
        raise PositionLost(topic, number, start, earliest)
    async with bus.reader(topic, {number: start}) as reader:
        while reader.positions[number] < end:
            if records := await reader.read(wait=_WAIT):
                each(records)
        return reader.positions[number]
