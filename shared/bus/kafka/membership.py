"""A member of a group: joins, sends heartbeats, and runs the workers of its partitions.

It uses the requests of Kafka's group protocol directly. Aiokafka's coordinator stops all workers at every rebalance,
cannot leave as a static member, and lets two processes of one name fence each other without end. A static member
(KIP-345) that restarts within the session timeout gets its partitions back, and no other member notices.

    join ──► start workers ──► heartbeats ──► rebalance ──► join, workers run on
     ▲            │ some partitions were revoked: stop their workers    │ evicted, or fenced
     └────────────┘                                                     └──► stop all workers, join as a new member

What a member releases is assigned to others when it joins again. If it ends before, its successor joins twice.
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from shared.bus.kafka.assignment import Subscription, assign
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.client.errors import (
    ILLEGAL_GENERATION,
    LOST_CONNECTION,
    NONE,
    REBALANCE_IN_PROGRESS,
    UNKNOWN_MEMBER_ID,
    Retriable,
    StaleMetadata,
    error_for_code,
    translate,
)
from shared.bus.kafka.wire.groups import (
    Assignment,
    assignment_in,
    assignment_to,
    heartbeat,
    join_group,
    leave_group,
    sync_group,
    user_data_of,
)
from shared.bus.partition_workers import PartitionWorkers
from shared.errors import Fenced, TrelayError, Unavailable
from shared.runtime.tasks import together

logger = logging.getLogger(__name__)

_PROTOCOL = "trelay-sticky"
_HEARTBEAT_INTERVAL = 0.5
"""Seconds: a member learns of a rebalance this much later at most."""
_PAUSE = 0.2
_MOMENT = 10.0
"""Seconds for which a member may wait for its coordinator before that is a problem. A new cluster creates the topic of
groups when the first member joins, and its partitions move to other brokers when a broker restarts."""
_NO_MEMBER_ID = ""
_NO_GENERATION = -1


class _Rebalance(Exception):
    """The group rebalances: join again; the workers run on meanwhile."""


class _Evicted(Exception):
    """The group has evicted this member: other members may have its partitions."""


class Membership:
    """One member of one group that reads one topic."""

    def __init__(self, cluster: Cluster, topic: str, group: str, member: str, workers: PartitionWorkers) -> None:
        self._cluster = cluster
        self._topic = topic
        self._group = group
        self._name = member
        self._workers = workers
        # A broker answers JoinGroup when all members have joined, which takes a session timeout at most.
        self._session_timeout = cluster.options.session_timeout
        self._connections = cluster.connections(self._session_timeout + cluster.options.request_timeout)
        # A heartbeat is answered at once: a paused coordinator costs one request timeout, and not the membership.
        self._heartbeat_connections = cluster.connections()
        self._coordinator: Broker | None = None
        self._member_id = _NO_MEMBER_ID
        self._generation = _NO_GENERATION
        self._fenced = False
        self._out_since: float | None = None
        """Since when this member has been out of the group, if it was evicted or fenced."""
        self._waiting_since: float | None = None
        """Since when the coordinator has answered that it cannot answer yet."""
        self._part = f"group {group}, member {member}"
        """The key in `Cluster.problems`, and the beginning of errors."""

    async def run(self) -> None:
        """Be a member, without end."""
        while True:
            try:
                await self._take_part()
            except _Rebalance:
                continue
            except _Evicted:
                if self._out_since is None:
                    logger.warning("evicted from consumer group; rejoining", extra=self._fields())
                    self._out_since = self._cluster.clock.monotonic()
                await self._start_over()
            except Fenced as exc:
                await self._stand_by(exc)
            except TrelayError as exc:
                self._note(exc)
                await self._cluster.clock.sleep(_PAUSE)

    async def leave(self) -> None:
        """Release the partitions at once; otherwise the group waits a session timeout for this member."""
        try:
            if self._coordinator is not None and self._member_id != _NO_MEMBER_ID:
                # On the shared connection: on its own, the request would wait behind a JoinGroup.
                request = leave_group(self._group, member_id=self._member_id, instance_id=self._name)
                await self._cluster.send(self._coordinator, request)
        except LOST_CONNECTION as exc:
            error = str(translate(exc, "leave group"))
            logger.info("could not leave consumer group", extra=self._fields() | {"error": error})
        finally:
            self._note(None)
            await asyncio.gather(self._connections.close(), self._heartbeat_connections.close())

    async def _take_part(self) -> None:
        """Join, start and stop workers, and stay in the group until something changes."""
        new = self._generation == _NO_GENERATION
        assigned = await self._join()
        self._log_rejoined()
        self._note(None)
        revoked = self._workers.partitions - assigned.partitions
        if revoked:
            await self._revoke(revoked)
        for number in sorted(assigned.partitions):
            self._workers.start(number)
        # A member of this name may have ended before it joined without what it had to release. The broker gave its
        # assignment to this one without a rebalance, and without another rebalance nobody would get the rest.
        if revoked or (new and not assigned.complete):
            raise _Rebalance
        while True:
            await self._cluster.clock.sleep(_HEARTBEAT_INTERVAL)
            await self._heartbeat()

    async def _join(self) -> Assignment:
        """Return what is assigned to this member."""
        subscription = Subscription(self._name, self._generation, self._workers.partitions)
        request = join_group(
            self._group,
            timeout=self._session_timeout,
            member_id=self._member_id,
            instance_id=self._name,
            protocol=_PROTOCOL,
            topic=self._topic,
            user_data=subscription.encode(),
        )
        joined = await self._send(request, "join")
        self._member_id = joined.member_id
        leads = joined.leader_id == joined.member_id
        assignments = await self._assign(joined.members) if leads else []
        request = sync_group(
            self._group,
            generation=joined.generation_id,
            member_id=self._member_id,
            instance_id=self._name,
            assignments=assignments,
        )
        synced = await self._send(request, "sync")
        self._generation = joined.generation_id
        return assignment_in(self._topic, synced.member_assignment)

    async def _assign(self, members: Iterable[Any]) -> list[tuple[str, bytes]]:
        """Assign the partitions to all members, as the leader of the group."""
        subscriptions = {member: Subscription.decode(user_data_of(data)) for member, _, data in members}
        topic = await self._cluster.topic(self._topic)
        assigned = assign(subscriptions, len(topic.leaders))
        complete = sum(map(len, assigned.values())) == len(topic.leaders)
        return [(member, assignment_to(self._topic, own, complete=complete)) for member, own in assigned.items()]

    async def _revoke(self, partitions: Iterable[int]) -> None:
        """Stop workers, and send heartbeats meanwhile, because it may take long."""
        stopped = asyncio.Event()

        async def stop() -> None:
            try:
                await self._workers.stop(partitions)
            finally:
                stopped.set()

        async def stay() -> None:
            while not stopped.is_set():
                with suppress(_Rebalance):  # this member joins again in any case
                    await self._heartbeat()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT_INTERVAL):
                        await stopped.wait()

        await together(stop(), stay())

    async def _heartbeat(self) -> None:
        request = heartbeat(self._group, generation=self._generation, member_id=self._member_id, instance_id=self._name)
        try:
            await self._send(request, "heartbeat", self._heartbeat_connections)
        except Unavailable as exc:
            # The next coordinator of the group knows its members: this one is a member until a coordinator denies it.
            self._note(exc)
        else:
            self._note(None)

    async def _start_over(self) -> None:
        """Stop all workers, and join as a new member the next time."""
        await self._workers.stop(self._workers.partitions)
        self._member_id, self._generation = _NO_MEMBER_ID, _NO_GENERATION

    async def _stand_by(self, reason: Fenced) -> None:
        """Stop all workers, and try again later: this member gets back in when the newer one of its name is gone.

        It joins with its old member id, which the coordinator refuses for as long as there is a newer member.
        """
        if not self._fenced:
            logger.error("fenced by a newer member of the same name; standing by", extra=self._fields())
        self._fenced = True
        if self._out_since is None:
            self._out_since = self._cluster.clock.monotonic()
        self._cluster.problems[self._part] = str(reason)
        await self._workers.stop(self._workers.partitions)
        await self._cluster.clock.sleep(self._session_timeout / 2)

    async def _send(self, request: Any, doing: str, connections: BrokerConnections | None = None) -> Any:
        """Send a request to the coordinator of the group.

        Raises:
            _Rebalance, _Evicted, Fenced: the state of this member in the group.
            Unavailable: the coordinator does not answer, or is moving.
        """
        if self._coordinator is None:
            self._coordinator = await self._cluster.coordinator("group", self._group)
        try:
            response = await (connections or self._connections).send(self._coordinator, request)
        except LOST_CONNECTION as exc:
            self._coordinator = None
            raise translate(exc, f"{self._part}: {doing}") from exc
        code = response.error_code
        if code == REBALANCE_IN_PROGRESS:
            raise _Rebalance
        if code in {UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION}:
            raise _Evicted
        if code != NONE:
            error = error_for_code(code, f"{self._part}: {doing}")
            if isinstance(error, StaleMetadata):
                self._coordinator = None
            raise error
        return response

    def _note(self, error: TrelayError | None) -> None:
        """Note why this member is not in its group, or that it is."""
        now = self._cluster.clock.monotonic()
        if not isinstance(error, Retriable):
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        if error is None:
            self._cluster.problems.pop(self._part, None)
        elif self._waiting_since is None or now - self._waiting_since >= _MOMENT:
            self._cluster.problems[self._part] = str(error)

    def _log_rejoined(self) -> None:
        if self._out_since is not None:
            after = self._cluster.clock.monotonic() - self._out_since
            logger.info("rejoined consumer group", extra=self._fields() | {"after_s": round(after, 3)})
        self._fenced, self._out_since = False, None

    def _fields(self) -> dict[str, object]:
        return {"component": "bus", "group": self._group, "topic": self._topic, "member": self._name}
