"""A member of a group: joins, keeps itself alive, and drives what it is given.

Our own, on the requests of Kafka's group protocol, because aiokafka's coordinator stops everything at every change,
cannot leave as a static member, and two processes of one name would put one another out for ever. A static member
(KIP-345) that comes back within the session timeout gets its partitions back without disturbing anybody.

    join ──► given partitions ──► heartbeats ──► told that the group changes ──► join, driving on
     ▲            │ some had to be given up: drives ended        │ taken for dead, or put out
     └────────────┘                                              └──► all drives ended, join as a stranger
"""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from shared.bus.kafka.assignment import Claim, assign, unpack
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker, Connections
from shared.bus.kafka.client.errors import (
    ILLEGAL_GENERATION,
    LOST_CONNECTION,
    NONE,
    REBALANCING,
    UNKNOWN_MEMBER,
    Moved,
    of_code,
    of_exception,
)
from shared.bus.kafka.wire.groups import (
    assigned_partitions,
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
_HEARTBEAT = 0.5
"""Seconds between heartbeats: also how late we may hear that the group changes."""
_PAUSE = 0.2
_STRANGER = ""


class _Changing(Exception):
    """The group takes stock: join again, driving on meanwhile."""


class _Forgotten(Exception):
    """The group has given us up: what we drive may be somebody else's by now."""


class Membership:
    """One member of one group that reads one topic."""

    def __init__(self, cluster: Cluster, topic: str, group: str, member: str, driving: PartitionWorkers) -> None:
        self._cluster = cluster
        self._topic = topic
        self._group = group
        self._name = member
        self._driving = driving
        # A broker answers a join when all members have joined, for which it waits a session at most.
        self._session = cluster.options.session_timeout
        self._connections = cluster.connections(self._session + cluster.options.request_timeout)
        # A heartbeat is answered at once: a coordinator that is paused costs one request timeout, and not the session.
        self._heartbeats = cluster.connections()
        self._coordinator: Broker | None = None
        self._id = _STRANGER
        self._generation = -1
        self._aside = False
        self._place = f"group {group}, member {member}"

    async def run(self) -> None:
        """Be a member, for ever."""
        while True:
            try:
                await self._take_part()
            except _Changing:
                continue
            except _Forgotten:
                logger.warning("%s: the group has given us up; joining anew", self._place)
                await self._start_over()
            except Fenced as exc:
                await self._stand_aside(exc)
            except TrelayError as exc:
                self._cluster.problems[self._place] = str(exc)
                await self._cluster.clock.sleep(_PAUSE)

    async def leave(self) -> None:
        """Give the partitions back at once; without this the group would wait for our return."""
        try:
            if self._coordinator is not None and self._id != _STRANGER:
                # On a connection of its own: behind a join, it would wait for all other members.
                request = leave_group(self._group, member_id=self._id, instance_id=self._name)
                await self._cluster.ask(self._coordinator, request)
        except LOST_CONNECTION as exc:
            logger.info("%s: could not say goodbye: %s", self._place, of_exception(exc, "leaving"))
        finally:
            self._cluster.problems.pop(self._place, None)
            await asyncio.gather(self._connections.close(), self._heartbeats.close())

    async def _take_part(self) -> None:
        """Join, do as told, and stay until something changes."""
        mine = await self._join()
        self._aside = False
        self._cluster.problems.pop(self._place, None)
        given_up = self._driving.partitions - mine
        if given_up:
            await self._give_up(given_up)
        for number in sorted(mine):
            self._driving.start(number)
        if given_up:
            raise _Changing
        while True:
            await self._cluster.clock.sleep(_HEARTBEAT)
            await self._heartbeat()

    async def _join(self) -> set[int]:
        """Return the partitions that we are to drive."""
        claim = Claim(self._name, self._generation, self._driving.partitions)
        request = join_group(
            self._group,
            timeout=self._session,
            member_id=self._id,
            instance_id=self._name,
            protocol=_PROTOCOL,
            topic=self._topic,
            user_data=claim.pack(),
        )
        answer = await self._ask(request, "joining")
        self._id = answer.member_id
        leads = answer.leader_id == answer.member_id
        shares = await self._share_out(answer.members) if leads else []
        request = sync_group(
            self._group,
            generation=answer.generation_id,
            member_id=self._id,
            instance_id=self._name,
            assignments=shares,
        )
        given = await self._ask(request, "being given partitions")
        self._generation = answer.generation_id
        return assigned_partitions(self._topic, given.member_assignment)

    async def _share_out(self, members: Iterable[Any]) -> list[tuple[str, bytes]]:
        """Decide for all, as the leader."""
        claims = {}
        for member, _, about in members:
            claims[member] = unpack(user_data_of(about))
        topic = await self._cluster.topic(self._topic)
        shares = assign(claims, len(topic.leaders))
        return [(member, assignment_to(self._topic, numbers)) for member, numbers in shares.items()]

    async def _give_up(self, partitions: Iterable[int]) -> None:
        """End drives; stay alive meanwhile, for it may take long."""
        ended = asyncio.Event()

        async def end() -> None:
            try:
                await self._driving.stop(partitions)
            finally:
                ended.set()

        async def stay() -> None:
            while not ended.is_set():
                with suppress(_Changing):  # we join again in any case
                    await self._heartbeat()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT):
                        await ended.wait()

        await together(end(), stay())

    async def _heartbeat(self) -> None:
        request = heartbeat(self._group, generation=self._generation, member_id=self._id, instance_id=self._name)
        try:
            await self._ask(request, "staying", self._heartbeats)
        except Unavailable as exc:
            # Whoever coordinates the group next knows us: as long as nobody says otherwise, we are a member.
            self._cluster.problems[self._place] = str(exc)
        else:
            self._cluster.problems.pop(self._place, None)

    async def _start_over(self) -> None:
        """End all drives, and join next time as if we had never been a member."""
        await self._driving.stop(self._driving.partitions)
        self._id, self._generation = _STRANGER, -1

    async def _stand_aside(self, reason: Fenced) -> None:
        """End all drives, and come back only when the newer member of our name is gone.

        Joining under the id that we had finds out: it is refused as long as there is a newer one.
        """
        if not self._aside:
            logger.error("%s: %s; this one stands aside for as long as that one lives", self._place, reason)
        self._aside = True
        self._cluster.problems[self._place] = str(reason)
        await self._driving.stop(self._driving.partitions)
        await self._cluster.clock.sleep(self._session / 2)

    async def _ask(self, request: Any, doing: str, connections: Connections | None = None) -> Any:
        """Ask the group's coordinator.

        Raises:
            _Changing, _Forgotten, Fenced: what the group says of us.
            Unavailable: it does not answer, or is being moved.
        """
        if self._coordinator is None:
            self._coordinator = await self._cluster.coordinator("group", self._group)
        try:
            answer = await (connections or self._connections).send(self._coordinator, request)
        except LOST_CONNECTION as exc:
            self._coordinator = None
            raise of_exception(exc, f"{self._place}: {doing}") from exc
        code = answer.error_code
        if code == REBALANCING:
            raise _Changing
        if code in {UNKNOWN_MEMBER, ILLEGAL_GENERATION}:
            raise _Forgotten
        if code != NONE:
            error = of_code(code, f"{self._place}: {doing}")
            if isinstance(error, Moved):
                self._coordinator = None
            raise error
        return answer
