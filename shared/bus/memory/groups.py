"""Groups of the bus in memory: which member has which partition."""

import asyncio
from dataclasses import dataclass

from shared.bus.partition_workers import PartitionWorkers


@dataclass(eq=False, slots=True)
class Member:
    """One member of a group, and its workers."""

    name: str
    workers: PartitionWorkers


class Group:
    """Assigns partitions to members in the order of their names, so a member gets the same ones after a restart."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._members: dict[str, Member] = {}
        self._rebalancing = asyncio.Lock()

    async def join(self, member: Member) -> None:
        """Add a member; it replaces an older one of the same name."""
        async with self._rebalancing:
            older = self._members.get(member.name)
            self._members[member.name] = member
            if older is not None:
                await older.workers.stop(older.workers.partitions)
            await self._rebalance()

    async def leave(self, member: Member) -> None:
        """Remove a member, and assign its partitions to the others."""
        async with self._rebalancing:
            if self._members.get(member.name) is member:
                del self._members[member.name]
            await member.workers.stop(member.workers.partitions)
            await self._rebalance()

    async def _rebalance(self) -> None:
        """Assign partitions evenly; revoke before assigning."""
        members = [self._members[name] for name in sorted(self._members)]
        for index, member in enumerate(members):
            revoked = {number for number in member.workers.partitions if number % len(members) != index}
            await member.workers.stop(revoked)
        for number in range(self._partitions if members else 0):
            members[number % len(members)].workers.start(number)
