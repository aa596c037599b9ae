"""One run on several brokers: feed all the time, break one thing after another, settle, and ask every hop."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
from pydantic import TypeAdapter

from services.standalone.embedded.postgres import PostgresServer
from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.database.options import DatabaseOptions
from tests.e2e.audit import Audit, Sighting
from tests.e2e.deployments import LATE, LINES, PARTITIONS, two_of_each
from tests.e2e.feeding import TABLE, Upstream, ddl, insert
from tests.e2e.hops import SECRET, prepare, sightings, values
from tests.e2e.several_brokers import steps
from tests.e2e.several_brokers.actions import ActionLog
from tests.e2e.several_brokers.chaos import Chaos
from tests.e2e.several_brokers.marks import false_marks, fresh
from tests.e2e.several_brokers.report import Report
from tests.e2e.several_brokers.roaming import RoamingSubscriber
from tests.e2e.several_brokers.steps import CLOSES_AFTER, COUNTED, JUDGED, failing_api
from tests.e2e.several_brokers.upstream import LineWriter, TableWriter, Writer
from tests.servers.cluster import Cluster

_SUBSCRIBERS = ("subscriber-1", "subscriber-2")
_ALONE = 0.25
"""Share of the time in which brokers alone are killed, so that their cost can be separated from the rest."""
_ARRIVES_WITHIN = 180.0
_SETTLED = 5.0
"""Seconds after the last event in which none may come again."""
_POLL = 0.1


@dataclass
class SeveralBrokersRun:
    """Two replicas of each service on three brokers, a PostgreSQL, three sources and two subscribers."""

    cluster: Cluster
    postgres: PostgresServer
    folder: Path
    prefix: str
    seed: int
    seconds: float
    """Of chaos, without starting and settling."""
    rolling: bool
    """Whether all brokers are restarted at the end, one after the other."""
    watermarks: bool = False
    """Whether the subscribers ask for watermarks, each of which is compared with what had been written."""
    log: ActionLog = field(default_factory=ActionLog)

    def __post_init__(self) -> None:
        feed = self.folder / "feed.ndjson"
        feed.touch()
        dsn = self.postgres.dsn()
        self._api_port = free_port()
        self.deployment = two_of_each(
            self.folder, feed, dsn, self.cluster.bootstrap, self.prefix, steps.pipelines(self._api_port)
        )
        self.bus: BusOptions = TypeAdapter(BusOptions).validate_python(self.deployment.bus)
        self.writers: dict[str, list[Writer]] = {
            LINES: [LineWriter(feed, 120.0, self._rng("lines"))],
            TABLE: [TableWriter(dsn, TABLE, f"q{n}", 30.0, self._rng(f"quick {n}")) for n in range(4)],
            LATE: [TableWriter(dsn, LATE, f"w{n}", 15.0, self._rng(f"late {n}"), late=0.1) for n in range(8)],
        }
        for name in (JUDGED, COUNTED):
            self.writers[name] = [TableWriter(dsn, name, name, 20.0, self._rng(name))]
        self.subscribers = [self._subscriber(name) for name in _SUBSCRIBERS]
        self.chaos = Chaos(
            self.cluster,
            self.bus.topics.publish,
            PARTITIONS,
            self.postgres,
            self.deployment.programs,
            self.subscribers,
            self.seed,
            self.log,
        )
        self.report = Report(self.log, self.subscribers, self.deployment.programs, self.folder)

    async def play(self) -> list[str]:
        """Do it, print what happened, and return the faults."""
        print(f"{self.seconds:g} s of chaos, logs in {self.folder}")
        faults = ["the run broke off"]
        try:
            await prepare(self.postgres.dsn(), [ddl(table) for table in (TABLE, LATE, JUDGED, COUNTED)], _SUBSCRIBERS)
            await self.deployment.start()
            async with failing_api(self._api_port, self._rng("api")) as answers, asyncio.TaskGroup() as tasks:
                subscribing = [tasks.create_task(subscriber.run()) for subscriber in self.subscribers]
                await asyncio.gather(*(subscriber.connected() for subscriber in self.subscribers))
                await self._feed_during_chaos()
                await self._settle()
                statuses = await self.deployment.stop()
                for task in subscribing:
                    task.cancel()
                self.report.answers = answers
            faults = [*self.chaos.faults, *await self._audited()]
            for program, status in zip(self.deployment.programs, statuses, strict=True):
                faults += [f"{program.name} ended with {status}"] if status else []
            faults += self.report.unexpected_errors()
        finally:
            self.deployment.kill()
            self.report.keep(self.cluster.nodes, self.postgres)
            self.report.show(self.seed, self.seconds, faults)
        return faults

    async def _feed_during_chaos(self) -> None:
        enough = asyncio.Event()
        async with asyncio.TaskGroup() as writing:
            for writer in self._all_writers():
                writing.create_task(writer.run(enough))
            await self._chaos()
            enough.set()
        self.log.say("nothing more is written")

    async def _chaos(self) -> None:
        self.log.phase = "everything"
        await self.chaos.everything(self.seconds * (1 - _ALONE))
        await self._recover()
        self.log.phase = "brokers alone"
        await self.chaos.brokers(self.seconds * _ALONE)
        if self.rolling:
            await self._recover()
            self.log.phase = "rolling restart"
            began = monotonic()
            await self.chaos.rolling_restart()
            self.report.rolling = (began, monotonic())
        self.log.phase = "after"
        await self._recover()

    async def _recover(self) -> None:
        """Wait until nothing is away any more, so that what follows shows its own consequences alone."""
        self.chaos.check_services()
        await self.cluster.wait_until_whole()
        await asyncio.gather(*(program.ready() for program in self.deployment.programs))
        self.log.say("everything works")

    async def _settle(self) -> None:
        # Windows go by the time at which events were written to the bus: those that close them must come later there.
        await self._all_counted_are_on_the_bus()
        await asyncio.sleep(CLOSES_AFTER)
        connection = await asyncpg.connect(self.postgres.dsn())
        await insert(connection, COUNTED, steps.closing(COUNTED, PARTITIONS))
        await connection.close()
        others = [writer for name, writers in self.writers.items() if name != COUNTED for writer in writers]
        total = sum(len(writer.upstream.written) for writer in others) + await self._windows()
        await asyncio.gather(*(subscriber.expect(total, _ARRIVES_WITHIN) for subscriber in self.subscribers))
        # What comes twice may come late.
        while monotonic() - max(subscriber.last_arrival for subscriber in self.subscribers) < _SETTLED:
            await asyncio.sleep(_POLL)
        if self.watermarks:
            await fresh(self.subscribers, self._marked(), _ARRIVES_WITHIN)

    async def _all_counted_are_on_the_bus(self) -> None:
        """Return once the system layer has written all events of `COUNTED`, or after too long."""
        written = len(self._counted())
        async with connect(self.bus, DatabaseOptions(url=self.postgres.dsn())) as bus:
            until = monotonic() + _ARRIVES_WITHIN
            while monotonic() < until:
                found = await sightings(bus, self.bus.topics.ingest)
                if len(found.get(COUNTED, ())) >= written:
                    break
                await asyncio.sleep(1)

    async def _windows(self) -> int:
        """Return how many results there are once all events of `COUNTED` are in one, or after too long."""
        written = len(self._counted())
        found: list[dict[str, Any]] = []
        async with connect(self.bus, DatabaseOptions(url=self.postgres.dsn())) as bus:
            until = monotonic() + _ARRIVES_WITHIN
            while monotonic() < until:
                published = [json.loads(value) async for value in values(bus, self.bus.topics.publish)]
                found = [event for event in published if event["channel"] == COUNTED]
                if steps.counted(found) >= written:
                    break
                await asyncio.sleep(1)
        return len(found)

    def _counted(self) -> list[Sighting]:
        return [event for writer in self.writers[COUNTED] for event in writer.upstream.written]

    async def _audited(self) -> list[str]:
        topics = self.bus.topics
        async with connect(self.bus, DatabaseOptions(url=self.postgres.dsn())) as bus:
            ingest = await sightings(bus, topics.ingest)
            publish = await sightings(bus, topics.publish)
            dead = [value async for value in values(bus, topics.dead_letter)]
            faults = steps.faults(self._counted(), [value async for value in values(bus, topics.publish)])
        for source, writers in self.writers.items():
            audit = Audit(source)
            written = [event for writer in writers for event in writer.upstream.written]
            if source == COUNTED:  # its events end in windows, which `steps.faults` compares
                faults += _compared(written + steps.closing(COUNTED, PARTITIONS), ingest.get(COUNTED, []))
            else:
                audit.saw("upstream", written)
            if source in {TABLE, JUDGED}:
                audit.saw("ingest", ingest.get(source, []))
            faults += self._audited_to_the_end(audit, publish.get(source, []))
        faults += [f"{len(dead)} dead letters: {dead[:3]!r}"] if dead else []
        faults += false_marks(self.subscribers, self._marked())
        for subscriber in self.subscribers:
            gaps = subscriber.gaps()
            faults += [f"{subscriber.client_id}: {len(gaps)} gaps: {gaps[:3]}"] if gaps else []
        return faults

    def _audited_to_the_end(self, audit: Audit, publish: list[Sighting]) -> list[str]:
        audit.saw("publish", publish)
        faults = audit.faults()
        self.report.counts[audit.source] = audit.counts()
        for subscriber in self.subscribers:
            # Each beside the topic and not beside the other.
            last = Audit(audit.source)
            last.saw("publish", publish)
            last.saw(subscriber.client_id, subscriber.sightings(audit.source))
            faults += [fault for fault in last.faults() if fault not in faults]
            self.report.counts[audit.source] |= last.counts()
        return faults

    def _marked(self) -> dict[str, list[Upstream]]:
        """Return what was written to the sources that have watermarks: a pipeline that holds events has none."""
        return {
            name: [writer.upstream for writer in writers] for name, writers in self.writers.items() if name != COUNTED
        }

    def _all_writers(self) -> list[Writer]:
        return [writer for writers in self.writers.values() for writer in writers]

    def _subscriber(self, name: str) -> RoamingSubscriber:
        return RoamingSubscriber(
            self.deployment.url,
            name,
            SECRET,
            open_timeout=3.0,
            ping_interval=3.0,
            watermarks=1 if self.watermarks else None,
            urls=self.deployment.urls,
            rng=self._rng(name),
        )

    def _rng(self, name: str) -> random.Random:
        return random.Random(f"{self.seed} {name}")


def _compared(written: list[Sighting], ingest: list[Sighting]) -> list[str]:
    fed = Audit(COUNTED)
    fed.saw("upstream", written)
    fed.saw("ingest", ingest)
    return fed.faults()
