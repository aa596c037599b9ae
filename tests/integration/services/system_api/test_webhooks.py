"""Two replicas receive webhooks; whatever is killed, each delivery that was answered is published once, in order."""

import asyncio
import itertools
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout

from shared.bus.connect import connect
from shared.bus.postgres import PostgresBusOptions
from shared.bus.protocol import Bus
from shared.database.options import DatabaseOptions
from tests.e2e.programs import Program
from tests.integration.services.system_api.service import program, published
from tests.servers.webhook_senders import SECRET, github

OPTIONS = PostgresBusOptions()
SOURCE = {
    "kind": "webhook",
    "type": "push",
    "channel": "pushes",
    "interval": 0.05,
    "batch": 5,
    "verify": {"kind": "github", "secrets": [SECRET]},
}
FAILPOINTS = ["webhook.stored", "webhook.before-remove"]
"""Between the insert and the answer; between the commit of what is published and its removal."""


class Sender:
    """Delivers to either replica, and repeats until an answer comes, as senders do."""

    def __init__(self, replicas: list[Program], client: ClientSession, rng: random.Random) -> None:
        self._urls = [replica.ready_url.replace("readyz", "hooks/hooks") for replica in replicas]
        self._client = client
        self._rng = rng
        self.repeated = 0

    async def deliver(self, number: int) -> None:
        """Deliver one number; return once it was accepted."""
        body = json.dumps({"id": str(number)}).encode()
        urls = itertools.cycle(self._rng.sample(self._urls, len(self._urls)))
        while not await self.accepted(next(urls), body, github(body, f"d{number}")):
            await asyncio.sleep(0.05)
        if self._rng.random() < 0.3:  # at both replicas at once
            await asyncio.gather(*(self.accepted(url, body, github(body, f"d{number}")) for url in self._urls))

    async def accepted(self, url: str, body: bytes, headers: Mapping[str, str]) -> bool:
        try:
            async with self._client.post(url, data=body, headers=headers) as answer:
                if answer.status == 200 and (await answer.json())["status"] == "repeated":
                    self.repeated += 1
                return answer.status == 200
        except (ClientError, TimeoutError):
            return False


class Replicas:
    """Processes of the service that kill themselves at a failpoint, and are started again."""

    def __init__(self, programs: list[Program], rng: random.Random) -> None:
        self._programs = programs
        self._rng = rng
        self.crashes = 0

    def arm(self, failpoint: str) -> None:
        """Start them anew; either may own the source, or be the one that receives."""
        for each in self._programs:
            each.kill()
            each.start(f"{failpoint}:{self._rng.randrange(1, 6)}")

    def revive(self) -> None:
        """Start those again that were killed."""
        for each in self._programs:
            if each.status is not None:
                self.crashes += 1
                each.start()

    async def published(self, bus: Bus, count: int) -> list[int]:
        """Return what is published, once that is so much."""
        found: list[int] = []
        try:
            async with asyncio.timeout(240):
                while len(found) < count:
                    await asyncio.sleep(0.1)
                    self.revive()
                    found = [int(each) for each in (await published(bus, OPTIONS, ["pushes"]))["pushes"]]
        except TimeoutError:
            pytest.fail(f"{len(found)} of {count}\n" + "\n".join(each.tail(20) for each in self._programs))
        return found


@pytest.mark.timeout(900)
async def test_what_was_answered_is_published_once_and_in_order(
    tmp_path: Path, migrated_database: DatabaseOptions, programs: list[Program], seed: int
) -> None:
    rng = random.Random(seed)
    sources: dict[str, Any] = {"hooks": SOURCE}
    programs += [program(tmp_path, migrated_database.url, OPTIONS, sources, node=node) for node in ("one", "two")]
    replicas, count = Replicas(programs, rng), 0
    async with (
        connect(OPTIONS, migrated_database) as bus,
        ClientSession(timeout=ClientTimeout(total=5)) as client,
    ):
        sender = Sender(programs, client, rng)
        for failpoint in FAILPOINTS:
            replicas.arm(failpoint)
            for _ in range(12):  # one delivery after another, so that the order of arrival is known
                delivering = asyncio.ensure_future(sender.deliver(count))
                while not delivering.done():
                    await asyncio.wait([delivering], timeout=0.2)
                    replicas.revive()
                await delivering
                count += 1
        assert await replicas.published(bus, count) == list(range(count))
    assert sender.repeated > 0
    assert replicas.crashes > 0, "none was killed at a failpoint"
