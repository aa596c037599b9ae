"""A member of a group: a lease that shows that it is alive, and claims on partitions that hold while the lease does.

So a member renews one row, however many partitions it has. There is no coordinator: each member reads which members are
alive and what they have claimed, releases what is above its quota, and claims what is free.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from shared.bus.partition_workers import PartitionWorkers
from shared.bus.postgres.assignment import Claim, Decision, decide
from shared.bus.postgres.plan import Topic
from shared.bus.postgres.pools import Pools
from shared.database.watchers import Watchers
from shared.errors import Unavailable
from shared.lease import Lease, Leases, LeaseStore
from shared.runtime.clock import Clock
from shared.runtime.tasks import Tasks, cancelled

logger = logging.getLogger(__name__)

CHANNEL = "trelay_groups"
"""The channel of notifications about changes in a group: the prefix of its members' leases."""

_POLL_INTERVAL = 1.5
"""Seconds after which a member checks the group without a notification: a dead member sends none."""
_PAUSE = 0.5
_NOTIFY_TIMEOUT = 2.0
"""Seconds that the notification of the other members may take."""

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
_RELEASE = """
WITH released AS (
    UPDATE trelay.bus_claims SET lease_epoch = 0
    WHERE reader_group = $1 AND partition_id = ANY ($2) AND lease = $3 AND lease_epoch = $4
)
SELECT pg_notify($5, $6)
"""
_NOTIFY = "SELECT pg_notify($1, $2)"


@dataclass(frozen=True, slots=True)
class Groups:
    """What the members in one process share."""

    pools: Pools
    leases: LeaseStore
    clock: Clock
    changed: Watchers[str] = field(default_factory=Watchers)
    """By the prefix of a group's leases."""

    def on_notification(self, prefix: str | None) -> None:
        """Handle a notification of `CHANNEL`; None: some may have been missed."""
        if prefix is None:
            self.changed.notify_all()
        else:
            self.changed.notify([prefix])


class Membership:
    """One member of one group that reads one topic."""

    def __init__(self, topic: Topic, group: str, member: str, workers: PartitionWorkers, groups: Groups) -> None:
        self._topic = topic
        self._group = group
        self._member = member
        self._workers = workers
        self._pools = groups.pools
        self._leases = Leases(groups.leases, member, clock=groups.clock)
        self._changed = groups.changed
        self._clock = groups.clock
        # Quoted, so that no name can contain the prefix of another group.
        self._prefix = f"group/{quote(topic.name, safe='')}/{quote(group, safe='')}/"
        self._lease_name = self._prefix + quote(member, safe="")

    async def run(self) -> None:
        """Be a member, without end."""
        while True:
            try:
                async with self._leases.hold(self._lease_name) as lease:
                    await self._take_part(lease)
            except Unavailable as exc:
                logger.debug("could not join consumer group; retrying", extra=self._fields() | {"error": str(exc)})
            except Exception:
                logger.exception("member of consumer group failed; rejoining", extra=self._fields())
            finally:
                await self._notify()
            await self._clock.sleep(_PAUSE)

    async def _take_part(self, lease: Lease) -> None:
        """Run the workers of the own partitions until the lease is lost."""
        async with Tasks() as tasks:
            balancing = tasks.start(f"balance {self._group}", self._keep_balanced(lease))
            losing = tasks.start(f"lease {lease.name}", lease.lost())
            try:
                await asyncio.wait({balancing, losing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # If there is time, the workers end while the lease is held: only then may another member have it.
                await cancelled(balancing)
                await self._workers.stop(self._workers.partitions)

    async def _keep_balanced(self, lease: Lease) -> None:
        await self._notify()
        with self._changed.watch([self._prefix]) as changed:
            while True:
                changed.clear()
                pause = _POLL_INTERVAL
                try:
                    if await self._balance(lease):
                        continue
                except Unavailable as exc:
                    # The partitions stay claimed for as long as the lease is held.
                    logger.debug("could not check consumer group", extra=self._fields() | {"error": str(exc)})
                    pause = _PAUSE
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()

    async def _balance(self, lease: Lease) -> bool:
        """Check the group once, and release and claim partitions; return whether to check again at once."""
        alive, claims = await self._read_group()
        owned = {number for number, claim in claims.items() if claim.live and claim.member == self._member}
        # Claimed under an earlier epoch, or by a newer process of the same name.
        await self._workers.stop(self._workers.partitions - owned)
        for number in sorted(owned):
            self._workers.start(number)
        decision = decide(self._member, alive, claims, len(self._topic.partitions))
        await self._release(decision, lease)
        return await self._claim(decision, lease)

    async def _read_group(self) -> tuple[set[str], dict[int, Claim]]:
        """Return the members that are alive, and the claims by partition."""
        async with self._pools.control.use() as connection:
            leases = await connection.fetch(_MEMBERS, self._prefix)
            rows = await connection.fetch(_CLAIMS, self._group, list(self._topic.partitions))
        numbers = {partition: number for number, partition in enumerate(self._topic.partitions)}
        return (
            {self._member_of(lease) for (lease,) in leases},
            {numbers[partition]: Claim(self._member_of(lease), live) for partition, lease, live in rows},
        )

    async def _release(self, decision: Decision, lease: Lease) -> None:
        if decision.release:
            await self._workers.stop(decision.release)
            async with self._pools.control.use() as connection:
                await connection.execute(
                    *(_RELEASE, self._group, self._ids(decision.release), self._lease_name, lease.epoch),
                    *(CHANNEL, self._prefix),
                )

    async def _claim(self, decision: Decision, lease: Lease) -> bool:
        """Return whether another member has claimed some of the partitions first."""
        if not decision.claim:
            return False
        async with self._pools.control.use() as connection:
            ids = self._ids(decision.claim)
            rows = await connection.fetch(_CLAIM, self._group, ids, self._lease_name, lease.epoch)
        numbers = {partition: number for number, partition in enumerate(self._topic.partitions)}
        for (partition,) in rows:
            self._workers.start(numbers[partition])
        return len(rows) < len(decision.claim)

    async def _notify(self) -> None:
        """Have the other members check the group."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_NOTIFY_TIMEOUT), self._pools.control.use() as connection:
                await connection.execute(_NOTIFY, CHANNEL, self._prefix)

    def _ids(self, numbers: Iterable[int]) -> list[int]:
        return [self._topic.partitions[number] for number in numbers]

    def _member_of(self, lease: str) -> str:
        return unquote(lease.removeprefix(self._prefix))

    def _fields(self) -> dict[str, object]:
        return {"component": "bus", "group": self._group, "topic": self._topic.name, "member": self._member}
