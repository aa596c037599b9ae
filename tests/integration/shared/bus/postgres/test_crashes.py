"""Members that copy, the process that feeds them, and the server die; each record is copied once, in order."""

import asyncio
import random
import time
from pathlib import Path

from services.standalone.embedded.postgres import PostgresServer
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import Bus, TopicOptions, Transaction
from shared.database.migrations import migrate
from shared.errors import Unavailable
from tests.contracts.bus.crashes import KEYS, Member, order_for
from tests.contracts.bus.deployment import new_topic
from tests.contracts.bus.records import by_key, ends, everything
from tests.contracts.bus.test_postgres import OwnPostgresDeployment

_CHECKPOINTS = "checkpoints"


class Feed:
    """Writes numbers under a few keys, each once: a transaction holds some of them and the checkpoint."""

    def __init__(self, bus: Bus, topic: str, rng: random.Random) -> None:
        self._bus = bus
        self._topic = topic
        self._rng = rng
        self.restarts = 0

    async def run(self, total: int) -> None:
        """Write all, with as many restarts as it takes."""
        while True:
            try:
                await self._write(total)
            except Unavailable:
                await asyncio.sleep(0.1)
            else:
                return

    async def _write(self, total: int) -> None:
        self.restarts += 1
        async with self._bus.writer("feed") as writer:
            checkpoint = await self._bus.latest(_CHECKPOINTS, b"feed")
            number = int(checkpoint.get(b"feed", b"0"))
            while number < total:
                # Small ones go in one statement, large ones are stored first.
                upto = min(total, number + self._rng.choice((1, 1, 10, 300)))
                transaction = Transaction()
                for each in range(number, upto):
                    transaction.append(
                        self._topic, f"key-{each % KEYS}".encode(), str(each).encode(), (("h", b"x" * 300),)
                    )
                transaction.append(_CHECKPOINTS, b"feed", str(upto).encode())
                _ = await writer.submit(transaction)
                number = upto
                await asyncio.sleep(self._rng.uniform(0.0, 0.3))
            await writer.commit(Transaction())


async def test_nothing_is_lost_or_repeated_when_the_server_dies_too(
    own_postgres: PostgresServer, tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    total = 5000
    deployment = OwnPostgresDeployment(own_postgres)
    await migrate(deployment.database)
    async with connect_postgres(PostgresBusOptions(), deployment.database) as bus:
        topic, target = await new_topic(bus, partitions=4), await new_topic(bus, partitions=4)
        compacted = TopicOptions(name=_CHECKPOINTS, partitions=1, compact=True, retention_hours=None)
        await bus.ensure_topics([compacted])
        order = order_for(deployment, topic=topic, target=target, group="copiers")
        members = [Member(order | {"member": name}, tmp_path / name, random.Random(f"{seed} {name}")) for name in "ab"]
        feed = Feed(bus, topic, rng)

        async def kill_the_server() -> None:
            for _ in range(3):
                await asyncio.sleep(rng.uniform(1.0, 4.0))
                await deployment.stop_server()
                await asyncio.sleep(rng.uniform(0.0, 1.0))
                await deployment.start_server()

        try:
            await asyncio.gather(*(member.start() for member in members))
            until = time.monotonic() + 12
            await asyncio.gather(
                feed.run(total), kill_the_server(), *(member.kill_and_pause(until) for member in members)
            )
            async with asyncio.timeout(90):
                while sum((await ends(bus, target)).values()) < total:
                    await asyncio.sleep(0.2)
            await asyncio.sleep(1.0)  # a repeated record may come late
            found = by_key(await everything(bus, target))
        finally:
            for member in members:
                await member.end()
        kills = sum(member.kills for member in members)
        print(f"{total} records, {feed.restarts} starts of the feed, {kills} kills of members, 3 of the server")
    assert found == {f"key-{key}": [str(number) for number in range(key, total, KEYS)] for key in range(KEYS)}
