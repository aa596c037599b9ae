"""A member of a group: a lease that says it lives, and claims on partitions that are good while it does.

So a member renews one row, however many partitions it drives. There is no coordinator: each member looks at who lives
and who has claimed what, gives up what is more than its share, and claims what is free.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from shared.bus.partition_workers import PartitionWorkers
from shared.bus.postgres.link import Link
from shared.bus.postgres.plan import Topic
from shared.bus.postgres.sharing import Claim, Share, share
from shared.database.watching import Watchers
from shared.errors import Unavailable
from shared.lease import Lease, Leases, LeaseStore
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

CHANNEL = "trelay_groups"
"""Where changes in a group are told, by the prefix of its members' leases."""

_LOOK_ANYWAY = 1.5
"""Seconds between looks at the group: a dead member tells nobody."""
_PAUSE = 0.5
_GOODBYE = 2.0
"""Seconds that telling the others may take when we leave."""

_MEMBERS = "SELECT name FROM trelay.leases WHERE starts_with(name, $1) AND expires_at > clock_timestamp()"
_CLAIMS = """
SELECT partition_id, lease, EXISTS (
    SELECT FROM trelay.leases
    WHERE name = claim.lease AND epoch = claim.lease_epoch AND expires_at > clock_timestamp()
) AS live
FROM trelay.bus_claims AS claim WHERE reader_group = $1 AND partition_id = ANY ($2)
"""
_CLAIM = """
INSERT INTO trelay.bus_claims AS claim (reader_group, partition_id, lease, lease_epoch)
SELECT $1, id, $3, $4 FROM unnest($2::int[]) AS id
WHERE EXISTS (SELECT FROM trelay.leases WHERE name = $3 AND epoch = $4 AND expires_at > clock_timestamp())
ORDER BY id
ON CONFLICT (reader_group, partition_id) DO UPDATE SET lease = $3, lease_epoch = $4
WHERE NOT EXISTS (
    SELECT FROM trelay.leases
    WHERE name = claim.lease AND epoch = claim.lease_epoch AND expires_at > clock_timestamp()
)
RETURNING partition_id
"""
_GIVE = """
WITH given AS (
    UPDATE trelay.bus_claims SET lease_epoch = 0
    WHERE reader_group = $1 AND partition_id = ANY ($2) AND lease = $3 AND lease_epoch = $4
)
SELECT pg_notify($5, $6)
"""
_TELL = "SELECT pg_notify($1, $2)"


@dataclass(frozen=True, slots=True)
class Groups:
    """What the members in one process share."""

    link: Link
    leases: LeaseStore
    clock: Clock
    changed: Watchers[str] = field(default_factory=Watchers)
    """By the prefix of a group's leases."""

    def hear(self, prefix: str | None) -> None:
        """Take a notification of `CHANNEL`, None if any may have been missed."""
        if prefix is None:
            self.changed.tell_all()
        else:
            self.changed.tell([prefix])


class Membership:
    """One member of one group that reads one topic."""

    def __init__(self, topic: Topic, group: str, member: str, driving: PartitionWorkers, groups: Groups) -> None:
        self._topic = topic
        self._group = group
        self._member = member
        self._driving = driving
        self._link = groups.link
        self._leases = Leases(groups.leases, member, clock=groups.clock)
        self._changed = groups.changed
        self._clock = groups.clock
        # Quoted, so that no name can reach into another group.
        self._prefix = f"group/{quote(topic.name, safe='')}/{quote(group, safe='')}/"
        self._lease_name = self._prefix + quote(member, safe="")

    async def run(self) -> None:
        """Be a member, for ever."""
        while True:
            try:
                async with self._leases.hold(self._lease_name) as lease:
                    await self._take_part(lease)
            except Unavailable as exc:
                logger.debug("group %s, member %s: %s", self._group, self._member, exc)
            except Exception:
                logger.exception("group %s, member %s failed; it joins anew", self._group, self._member)
            finally:
                await self._tell()
            await self._clock.sleep(_PAUSE)

    async def _take_part(self, lease: Lease) -> None:
        """Drive our share until the lease is lost."""
        async with Tasks() as tasks:
            sharing = tasks.start(f"sharing of {self._group}", self._keep_sharing(lease))
            losing = tasks.start(f"lease {lease.name}", lease.lost())
            try:
                await asyncio.wait({sharing, losing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # The drives end while the lease is ours, if there is time: only then may another have it.
                await cancelled(sharing)
                await self._driving.stop(self._driving.partitions)

    async def _keep_sharing(self, lease: Lease) -> None:
        await self._tell()
        with self._changed.watch([self._prefix]) as changed:
            while True:
                changed.clear()
                pause = _LOOK_ANYWAY
                try:
                    if await self._share(lease):
                        continue
                except Unavailable as exc:
                    # What we drive stays ours as long as the lease does.
                    logger.debug("group %s, member %s: %s", self._group, self._member, exc)
                    pause = _PAUSE
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()

    async def _share(self, lease: Lease) -> bool:
        """Look once and do what follows; return whether to look again at once."""
        living, claims = await self._look()
        mine = {number for number, claim in claims.items() if claim.live and claim.member == self._member}
        # Claimed under an earlier epoch, or by a newer process of our name.
        await self._driving.stop(self._driving.partitions - mine)
        for number in sorted(mine):
            self._driving.start(number)
        decided = share(self._member, living, claims, len(self._topic.partitions))
        await self._give(decided, lease)
        return await self._claim(decided, lease)

    async def _look(self) -> tuple[set[str], dict[int, Claim]]:
        """Return the members that live, and the claims by partition."""
        async with self._link.steering.use() as connection:
            leases = await connection.fetch(_MEMBERS, self._prefix)
            rows = await connection.fetch(_CLAIMS, self._group, list(self._topic.partitions))
        numbers = {partition: number for number, partition in enumerate(self._topic.partitions)}
        return (
            {self._name_of(lease) for (lease,) in leases},
            {numbers[partition]: Claim(self._name_of(lease), live) for partition, lease, live in rows},
        )

    async def _give(self, decided: Share, lease: Lease) -> None:
        if decided.give:
            await self._driving.stop(decided.give)
            async with self._link.steering.use() as connection:
                await connection.execute(
                    *(_GIVE, self._group, self._ids(decided.give), self._lease_name, lease.epoch),
                    *(CHANNEL, self._prefix),
                )

    async def _claim(self, decided: Share, lease: Lease) -> bool:
        """Return whether some of it was somebody else's by then."""
        if not decided.take:
            return False
        async with self._link.steering.use() as connection:
            rows = await connection.fetch(_CLAIM, self._group, self._ids(decided.take), self._lease_name, lease.epoch)
        numbers = {partition: number for number, partition in enumerate(self._topic.partitions)}
        for (partition,) in rows:
            self._driving.start(numbers[partition])
        return len(rows) < len(decided.take)

    async def _tell(self) -> None:
        """Have the others look."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_GOODBYE), self._link.steering.use() as connection:
                await connection.execute(_TELL, CHANNEL, self._prefix)

    def _ids(self, numbers: Iterable[int]) -> list[int]:
        return [self._topic.partitions[number] for number in numbers]

    def _name_of(self, lease: str) -> str:
        return unquote(lease.removeprefix(self._prefix))
