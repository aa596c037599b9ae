"""Kills and pauses at random: brokers one at a time, services, PostgreSQL; subscribers that move."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic

from services.standalone.embedded.kafka import KafkaServer
from services.standalone.embedded.postgres import PostgresServer
from tests.e2e.programs import Program
from tests.e2e.several_brokers.actions import ActionLog
from tests.e2e.several_brokers.roaming import RoamingSubscriber
from tests.servers.cluster import Cluster

_PAUSED_FOR = (2.0, 12.0)
"""Seconds: shorter and longer than the sessions and leases that end meanwhile."""


@dataclass
class Chaos:
    """Everything that can go wrong in a deployment without losing data. A seed gives the same plan again."""

    cluster: Cluster
    topic: str
    """Whose leaders are hit most."""
    partitions: int
    postgres: PostgresServer
    programs: Sequence[Program]
    subscribers: Sequence[RoamingSubscriber]
    seed: int
    log: ActionLog
    faults: list[str] = field(default_factory=list)
    """Services that ended although no action stopped them."""

    async def everything(self, seconds: float) -> None:
        """Kill and pause brokers, services and PostgreSQL side by side, and move subscribers."""
        async with asyncio.TaskGroup() as tasks:
            for work in (
                self.brokers(seconds),
                self._repeatedly("services", seconds, (0.5, 6.0), self._hit_a_service),
                self._repeatedly("postgresql", seconds, (5.0, 25.0), self._hit_postgres),
                self._repeatedly("subscribers", seconds, (1.0, 6.0), self._move_a_subscriber),
            ):
                tasks.create_task(work)

    async def brokers(self, seconds: float) -> None:
        """Kill and pause brokers: the next one when the last one is back and no replica lags."""
        await self._repeatedly("brokers", seconds, (0.5, 4.0), self._hit_a_broker)

    async def rolling_restart(self) -> None:
        """Restart each broker in order, as an upgrade does."""
        for node in self.cluster.nodes:
            with self.log.during("broker", "restart", self._name(node)):
                await asyncio.to_thread(node.restart)
                await self.cluster.wait_until_whole()

    def check_services(self) -> None:
        """Note services that ended without an action, and start them again as Kubernetes does."""
        for program in self.programs:
            if program.status is not None:
                self.faults.append(f"{program.name} ended by itself with {program.status}")
                self.log.say(self.faults[-1])
                program.start()

    async def _repeatedly(
        self,
        name: str,
        seconds: float,
        between: tuple[float, float],
        hit: Callable[[random.Random, str], Awaitable[None]],
    ) -> None:
        """Hit again and again, kills and pauses in turns that chance deals."""
        rng = random.Random(f"{self.seed} {self.log.phase} {name}")
        kinds = _dealt(rng)
        until = monotonic() + seconds
        while monotonic() + between[0] < until:
            await asyncio.sleep(rng.uniform(*between))
            await hit(rng, next(kinds))

    async def _hit_a_broker(self, rng: random.Random, kind: str) -> None:
        partition, any_node = rng.randrange(self.partitions), rng.choice(self.cluster.nodes)
        node = await self.cluster.leader(self.topic, partition) if rng.random() < 0.7 else any_node
        with self.log.during("broker", kind, self._name(node)):
            await self._hit(node, kind, rng)
        await self.cluster.wait_until_whole()
        self.log.say("no replica lags")

    async def _hit_a_service(self, rng: random.Random, kind: str) -> None:
        self.check_services()
        program = rng.choice(self.programs)
        with self.log.during("service", kind, program.name):
            await self._hit(program, kind, rng)

    async def _hit_postgres(self, rng: random.Random, kind: str) -> None:
        with self.log.during("postgresql", kind, "PostgreSQL"):
            await self._hit(self.postgres, kind, rng)

    async def _move_a_subscriber(self, rng: random.Random, kind: str) -> None:
        subscriber = rng.choice(self.subscribers)
        with self.log.during("subscriber", "move", subscriber.client_id):
            subscriber.move()

    async def _hit(self, target: KafkaServer | PostgresServer | Program, kind: str, rng: random.Random) -> None:
        # Mostly back at once, as a container is; else others take over first.
        away, paused = rng.choice((0.0, 0.0, rng.uniform(0.0, 8.0))), _paused_for(rng)
        if kind == "kill":
            await asyncio.to_thread(target.kill)
            await asyncio.sleep(away)
            if isinstance(target, Program):
                target.start()  # here, for it ends with the thread that started it
            else:
                await asyncio.to_thread(target.start)
        else:
            target.pause()
            try:
                await asyncio.sleep(paused)
            finally:
                target.resume()

    def _name(self, node: KafkaServer) -> str:
        return f"broker {self.cluster.nodes.index(node) + 1}"


def _paused_for(rng: random.Random) -> float:
    """Return seconds, short ones more often: a pause of about a session ends in the middle of elections."""
    shortest, longest = _PAUSED_FOR
    return float(shortest * (longest / shortest) ** rng.random())


def _dealt(rng: random.Random) -> Iterator[str]:
    while True:
        kinds = ["kill", "pause"]
        rng.shuffle(kinds)
        yield from kinds
