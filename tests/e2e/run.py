"""One run: feed, kill, start again, until all is written; then ask every hop what it saw."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from services.cli.explaining import ExplainClient
from services.cli.service_client import ServiceAddress
from shared.bus.connect import BusOptions, connect
from shared.database.options import DatabaseOptions
from tests.e2e.audit import Audit
from tests.e2e.deployments import Placed
from tests.e2e.feeding import DDL, Upstream, append_lines, insert_rows, sighting
from tests.e2e.hops import SECRET, prepare, sightings, source, values
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
CLIENT = "e2e-subscriber"
_FIRES_WITHIN = 240.0
_ARRIVES_WITHIN = 240.0
_MARKED_WITHIN = 240.0


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
        await self._prepare()
        subscriber = RecordingSubscriber(self.deployment.url, CLIENT, SECRET, watermarks=1)
        try:
            await self.deployment.start()
            async with asyncio.TaskGroup() as tasks:
                subscribing = tasks.create_task(subscriber.run())
                await subscriber.connected()
                await self._under_fire()
                await subscriber.expect(2 * self.events, _ARRIVES_WITHIN)
                for source_name, upstream in self._upstreams():
                    await subscriber.marked(source_name, upstream.times[-1][0], _MARKED_WITHIN)
                explained = await self._explained(subscriber)
                statuses = await self.deployment.stop()
                subscribing.cancel()
        finally:
            self.deployment.kill()
        faults = explained + await self._audited(subscriber)
        for program, status in zip(self.deployment.programs, statuses, strict=True):
            print(f"{program.name}: {program.starts} starts, ended with {status}")
            faults += [f"{program.name} ended with {status}"] if status else []
        print(f"{subscriber.connections} connections of the subscriber")
        return faults

    async def _explained(self, subscriber: RecordingSubscriber) -> list[str]:
        """Ask why some events did arrive, and why one that never was did not; return the wrong answers."""
        last = {source(event): event["id"] for event in subscriber.events}
        asked = [
            *((event_id, "delivery", ("yes", "unknown")) for event_id in last.values()),
            ("none", "ingest", ("no",)),
        ]
        faults = []
        address = ServiceAddress(self.deployment.admin, None, None)
        async with ExplainClient.opened(address) as operator:
            for event_id, hop, answers in asked:
                found = await operator.explained({"event": event_id, "client": CLIENT, "since": "1h"}, lambda _: None)
                conclusion = found["conclusion"]
                print("explained", event_id, conclusion["text"], found["read"])
                if conclusion["hop"] != hop or conclusion["answer"] not in answers:
                    faults.append(f"event {event_id} is explained by {conclusion}; expected {hop} {answers}")
        return faults

    def _upstreams(self) -> list[tuple[str, Upstream]]:
        return [("orders", self.rows), ("lines", self.lines)]

    async def _prepare(self) -> None:
        self.feed.touch()
        await prepare(self.dsn, [DDL], [CLIENT])

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
        lines, rng = self.lines.more(share), random.Random(self.rng.random())
        append = asyncio.to_thread(append_lines, self.feed, self.lines, lines, rng)
        await asyncio.gather(append, insert_rows(self.dsn, self.rows, share))

    async def _audited(self, subscriber: RecordingSubscriber) -> list[str]:
        options: BusOptions = TypeAdapter(BusOptions).validate_python(self.deployment.bus)
        topics = options.topics
        async with connect(options, DatabaseOptions(url=self.dsn)) as bus:
            ingest = await sightings(bus, topics.ingest)
            publish = await sightings(bus, topics.publish)
            dead = [value async for value in values(bus, topics.dead_letter)]
        audits = [Audit("orders"), Audit("lines")]
        for audit, upstream in zip(audits, (self.rows, self.lines), strict=True):
            audit.saw("upstream", upstream.written)
            if audit.source == "orders":
                audit.saw("ingest", ingest.get(audit.source, []))
            audit.saw("publish", publish.get(audit.source, []))
            audit.saw("subscriber", [sighting(event) for event in subscriber.events if source(event) == audit.source])
            print(audit.source, audit.counts())
        self._write_report(audits)
        faults = [fault for audit in audits for fault in audit.faults()]
        faults += [f"dead letter: {value!r}" for value in dead[:5]]
        faults += self._false_marks(subscriber)
        return faults + [f"gap: {gap}" for gap in subscriber.gaps()]

    def _false_marks(self, subscriber: RecordingSubscriber) -> list[str]:
        """Return the watermarks before which not everything had come that could be read by then."""
        upstreams = dict(self._upstreams())
        print("watermarks", Counter(mark.source for mark in subscriber.marks))
        return [
            f"watermark of {mark.source} as of {mark.as_of}: {mark.events} events before it, expected {expected}"
            for mark in subscriber.marks
            if mark.events < (expected := upstreams[mark.source].by(mark.as_of))
        ]

    def _write_report(self, audits: Iterable[Audit]) -> None:
        report = {audit.source: audit.hops for audit in audits}
        (self.folder / "audit.json").write_text(json.dumps(report))


def _reaches(program: Program, failpoint: str) -> bool:
    return program.name in {"standalone", failpoint.partition(".")[0]}
