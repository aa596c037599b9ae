"""Groups of the bus in memory: who drives which partition."""

import asyncio
from dataclasses import dataclass

from shared.bus.partition_workers import PartitionWorkers


@dataclass(eq=False, slots=True)
class Member:
    """One member of a group and what it drives."""

    name: str
    driving: PartitionWorkers


class Group:
    """Deals the partitions of a topic out to members, in the order of their names: who returns gets what it had."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._members: dict[str, Member] = {}
        self._rebalance = asyncio.Lock()

    async def enter(self, member: Member) -> None:
        """Let a member in; an older one of the same name is put out."""
        async with self._rebalance:
            older = self._members.get(member.name)
            self._members[member.name] = member
            if older is not None:
                await older.driving.stop(older.driving.partitions)
            await self._deal()

    async def leave(self, member: Member) -> None:
        """Give what a member drove to those who stay."""
        async with self._rebalance:
            if self._members.get(member.name) is member:
                del self._members[member.name]
            await member.driving.stop(member.driving.partitions)
            await self._deal()

    async def _deal(self) -> None:
        """Deal evenly, taking away before giving."""
        members = [self._members[name] for name in sorted(self._members)]
        for place, member in enumerate(members):
            lost = {number for number in member.driving.partitions if number % len(members) != place}
            await member.driving.stop(lost)
        for number in range(self._partitions if members else 0):
            members[number % len(members)].driving.start(number)
