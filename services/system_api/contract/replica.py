"""A replica of the system layer with one source, on a bus and leases in memory."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from services.system_api.contract.interrupting import Interrupted, Interruptions
from services.system_api.contract.upstream import Upstream
from services.system_api.operations.checkpoints import PART, OwnPart, checkpoint_key
from services.system_api.operations.controls import Controls
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.replicas.membership import Turn
from services.system_api.sources.source import SourceOpener
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.poller import Poller
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.run import SourceContext
from services.system_api.supervisor.status import SourceStatus, State
from services.system_api.supervisor.watchdog import Watchdog
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.topics import TopicsOptions
from shared.lease import Lease, Leases, LeaseStore, MemoryLeaseStore
from shared.runtime.clock import SystemClock
from shared.runtime.tasks import Tasks

SOURCE = "numbers"
TOPICS = TopicsOptions(partitions=1)
TIMEOUT = 60.0


Wrap = Callable[[SourceOpener], SourceOpener]


class AdjustableClock(SystemClock):
    """Waits 20 ms at most, and has a wall clock that can be set."""

    def __init__(self) -> None:
        self.offset = 0.0

    def time(self) -> float:
        return super().time() + self.offset

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


class DeafLeases(MemoryLeaseStore):
    """Leases of which one owner does not learn that it has lost them, as a replica that was paused does not."""

    def __init__(self) -> None:
        super().__init__()
        self.deaf = ""

    async def renew(self, name: str, owner: str, epoch: int, ttl: float) -> bool:
        return True if owner == self.deaf else await super().renew(name, owner, epoch, ttl)


class InterruptedPoller(Poller):
    """A poller whose runs are interrupted."""

    interruptions: Interruptions
    controls: Controls
    current: Interrupted | None = None
    """The run that was started last."""

    @property
    def waits(self) -> int:
        """How often the last run has waited."""
        return 0 if self.current is None else self.current.total_waits

    async def _run_once(self, lease: Lease, watchdog: Watchdog) -> None:
        self.current = Interrupted(super()._run_once(lease, watchdog), self.interruptions)
        await self.current


class Cluster:
    """The bus and the leases that replicas share, and what they have published."""

    def __init__(self, upstream: Upstream, leases: LeaseStore | None = None) -> None:
        self.upstream = upstream
        self.bus = MemoryBus()
        self.leases = leases or MemoryLeaseStore()
        self.clock = AdjustableClock()
        self.alerts = RecordingAlerts()

    def poller(
        self, owner: str = "us", wrap: Callable[[SourceOpener], SourceOpener] | None = None
    ) -> InterruptedPoller:
        """Return a poller of the source; `wrap` may replace what opens it."""
        options: Any = self.upstream.options()
        rng = random.Random(1)
        opener = options.opener(SOURCE, self.clock, rng)
        reporter = Reporter(SOURCE, self.alerts, SystemMetrics(CollectorRegistry(), [SOURCE]), self.clock)
        controls = Controls(MemorySourceStore(), [SOURCE])
        poller = InterruptedPoller(
            options,
            wrap(opener) if wrap else opener,
            Leases(self.leases, owner, clock=AdjustableClock()),
            SourceContext(self.bus, TOPICS, self.clock, rng),
            reporter,
            controls.of(SOURCE),
            Turn(granted=True),
        )
        poller.interruptions, poller.controls = [], controls
        return poller

    @contextlib.asynccontextmanager
    async def running(self, *pollers: InterruptedPoller) -> AsyncIterator[None]:
        """Run pollers for as long as the context lasts."""
        await self.bus.ensure_topics(TOPICS.all())
        async with Tasks() as tasks:
            for number, poller in enumerate(pollers):
                tasks.keep(f"controls {number}", poller.controls.follow())
                tasks.keep(f"poller {number}", poller.run())
            yield

    def events(self) -> list[dict[str, Any]]:
        """Return the published events, oldest first."""
        return [json.loads(each.value or b"") for each in self.bus.records(TOPICS.publish, 0)]

    def numbers(self) -> list[int]:
        """Return the numbers of the published events, oldest first."""
        return [int(event["data"]["n"]) for event in self.events()]

    def dead_letters(self) -> list[dict[str, str]]:
        """Return the headers of the dead letters, oldest first."""
        records = self.bus.records(TOPICS.dead_letter, 0)
        return [{name: value.decode() for name, value in record.headers} for record in records]

    def counts(self) -> OwnPart:
        """Return what is counted in the newest checkpoint."""
        key = checkpoint_key(SOURCE, PART)
        saved = (record.value for record in reversed(self.bus.records(TOPICS.checkpoints, 0)) if record.key == key)
        return msgspec.json.decode(next(saved) or b"", type=OwnPart)

    async def until(self, condition: Callable[[], bool], *statuses: SourceStatus) -> None:
        """Wait until a condition holds; fail with the states of the sources if it does not."""
        try:
            async with asyncio.timeout(TIMEOUT):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            states = [(status.state, status.error, status.waiting) for status in statuses]
            raise AssertionError(f"not in {TIMEOUT:g} s; {states}; published {self.numbers()}") from None

    async def published(self, numbers: Sequence[int], *pollers: Poller) -> None:
        """Wait until all of these numbers are published, and check that they are as the upstream promises."""
        wanted = set(numbers)
        await self.until(lambda: wanted <= set(self.numbers()), *(poller.status for poller in pollers))
        self.check(numbers)

    def check(self, numbers: Sequence[int]) -> None:
        """Check that these numbers are published, in order by subject, and as often as the upstream promises.

        Also that the counts that were saved with the newest of them are those of all events and dead letters.
        """
        found, counts = self.numbers(), self.counts()
        assert counts.unaccounted == 0, counts
        assert (counts.published, counts.rejected) == (len(found), len(self.dead_letters()))
        if not self.upstream.exactly_once:
            assert set(found) == set(numbers)
            ids = {(event["id"], event["data"]["n"]) for event in self.events()}
            assert len(ids) == len(set(found)), "a repeated event has the id of the first one"
            return
        by_subject = {subject: [n for n in numbers if "abc"[n % 3] == subject] for subject in "abc"}
        assert sorted(found) == sorted(numbers)
        assert {subject: [n for n in found if "abc"[n % 3] == subject] for subject in "abc"} == by_subject


def working(status: SourceStatus) -> bool:
    """Whether a source works."""
    return status.state is State.RUNNING
