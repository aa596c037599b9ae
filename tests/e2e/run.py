"""One run: feed, kill, start again, until all is written; then ask every hop what it saw."""

import asyncio
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from pydantic import TypeAdapter

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.bus.connect import BusOptions, connect
from shared.bus.protocol import Bus
from shared.database.engine import create_engine
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.e2e.audit import Audit, Sighting
from tests.e2e.deployments import Placed
from tests.e2e.feeding import DDL, Upstream, append_lines, insert_rows, sighting
from tests.e2e.programs import Program
from tests.e2e.subscribing import RecordingSubscriber

FAILPOINTS = (
    "system.before-submit",
    "system.after-submit",
    "system.before-settle",
    "process.before-submit",
    "process.after-submit",
    "experience.before-write",
    "experience.after-write",
)
KILLED = -9
CLIENT, SECRET = "e2e-subscriber", "a secret of the tests"
_FIRES_WITHIN = 40.0
_ARRIVES_WITHIN = 90.0


@dataclass
class Run:
    """A deployment under fire."""

    deployment: Placed
    dsn: str
    feed: Path
    folder: Path
    seed: int
    events: int
    """Rows, and as many lines."""
    at_random: int
    """Kills at random moments, beside one at each failpoint."""
    rows: Upstream = field(init=False)
    lines: Upstream = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.rows, self.lines = Upstream(self.rng), Upstream(self.rng)

    async def play(self) -> list[str]:
        """Do it, and return the faults."""
        print(f"seed {self.seed}")
        await self._prepare()
        subscriber = RecordingSubscriber(self.deployment.url, CLIENT, SECRET)
        try:
            await self.deployment.start()
            async with asyncio.TaskGroup() as tasks:
                subscribing = tasks.create_task(subscriber.run())
                await subscriber.connected()
                await self._under_fire()
                await subscriber.expect(2 * self.events, _ARRIVES_WITHIN)
                statuses = await self.deployment.stop()
                subscribing.cancel()
        finally:
            self.deployment.kill()
        faults = await self._audited(subscriber)
        for program, status in zip(self.deployment.programs, statuses, strict=True):
            print(f"{program.name}: {program.starts} starts, ended with {status}")
            faults += [f"{program.name} ended with {status}"] if status else []
        print(f"{subscriber.connections} connections of the subscriber")
        return faults

    async def _prepare(self) -> None:
        self.feed.touch()
        options = DatabaseOptions(url=self.dsn)
        await migrate(options)
        connection = await asyncpg.connect(self.dsn)
        await connection.execute(DDL)
        await connection.close()
        engine = create_engine(options)
        await add_client(PostgresRegistry(engine, options), CLIENT, secret=SECRET)
        await engine.dispose()

    async def _under_fire(self) -> None:
        plan: list[str | None] = [*FAILPOINTS, *[None] * self.at_random]
        self.rng.shuffle(plan)
        left = self.events
        for number, failpoint in enumerate(plan):
            share = left // (len(plan) - number)
            left -= share
            if failpoint is None:
                await self._kill_at_random(share)
            else:
                await self._kill_at(failpoint, share)

    async def _kill_at_random(self, share: int) -> None:
        program = self.rng.choice(list(self.deployment.programs))
        print(f"killing {program.name} at random")
        feeding = asyncio.ensure_future(self._feed(share))
        await asyncio.sleep(self.rng.uniform(0, 0.6))
        program.kill()
        program.start()
        await feeding
        await program.ready()

    async def _kill_at(self, failpoint: str, share: int) -> None:
        (program,) = [program for program in self.deployment.programs if _reaches(program, failpoint)]
        armed = f"{failpoint}:{self.rng.randint(1, 3)}"
        print(f"killing {program.name} at {armed}")
        program.kill()
        program.start(armed)
        await self._feed(share)
        status = await program.ended(_FIRES_WITHIN)
        assert status == KILLED, f"{program.name} ended with {status} before {armed}:\n{program.tail()}"
        program.start()
        await program.ready()

    async def _feed(self, share: int) -> None:
        append = asyncio.to_thread(append_lines, self.feed, self.lines.more(share), random.Random(self.rng.random()))
        await asyncio.gather(append, insert_rows(self.dsn, self.rows.more(share)))

    async def _audited(self, subscriber: RecordingSubscriber) -> list[str]:
        options: BusOptions = TypeAdapter(BusOptions).validate_python(self.deployment.bus)
        topics = options.topics
        async with connect(options, DatabaseOptions(url=self.dsn)) as bus:
            ingest = await _events(bus, topics.ingest)
            publish = await _events(bus, topics.publish)
            dead = await _values(bus, topics.dead_letter)
        audits = [Audit("orders"), Audit("lines")]
        for audit, upstream in zip(audits, (self.rows, self.lines), strict=True):
            audit.saw("upstream", upstream.written)
            if audit.source == "orders":
                audit.saw("ingest", _of(audit.source, ingest))
            audit.saw("publish", _of(audit.source, publish))
            audit.saw("subscriber", _of(audit.source, subscriber.events))
            print(audit.source, audit.counts())
        self._write_report(audits)
        faults = [fault for audit in audits for fault in audit.faults()]
        faults += [f"dead letter: {value!r}" for value in dead[:5]]
        return faults + [f"gap: {gap}" for gap in subscriber.gaps()]

    def _write_report(self, audits: Iterable[Audit]) -> None:
        report = {audit.source: audit.hops for audit in audits}
        (self.folder / "audit.json").write_text(json.dumps(report))


def _reaches(program: Program, failpoint: str) -> bool:
    return program.name in {"standalone", failpoint.partition(".")[0]}


def _of(source: str, events: Iterable[dict[str, object]]) -> list[Sighting]:
    return [sighting(event) for event in events if event["source"] == f"/sources/{source}"]


async def _events(bus: Bus, topic: str) -> list[dict[str, object]]:
    return [json.loads(value) for value in await _values(bus, topic)]


async def _values(bus: Bus, topic: str) -> list[bytes]:
    """Return the values of all records of a topic, each partition in its order."""
    bounds = await bus.bounds(topic)
    values = []
    async with bus.reader(topic, {partition: first for partition, (first, _) in bounds.items()}) as reader:
        while records := await reader.read(wait=2.0):
            values += [record.value or b"" for record in records]
    return values
