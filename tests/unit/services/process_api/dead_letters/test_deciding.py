"""Whatever fails, each letter is decided on once: crashes, commits of unknown outcome, replicas at the same time."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Mapping
from typing import Any

import pytest

from services.process_api.dead_letters import scanning
from services.process_api.dead_letters.decisions import Status
from services.process_api.dead_letters.requests import DecideRequest
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TakeRecords, TopicPartition, Transaction, Writer, size_of
from shared.errors import Fenced, ProblemError, TooLarge, Unavailable
from shared.runtime.clock import SystemClock
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, bad_line, reject

LETTERS = 40


@pytest.fixture(autouse=True)
def _no_letter_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bus in memory has it, or will not get it."""
    monkeypatch.setattr(scanning, "_WAIT", 0.001)


class FastClock(SystemClock):
    """Time that passes at each wait, and nobody waits for it."""

    def __init__(self) -> None:
        self.offset = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.offset

    async def sleep(self, seconds: float) -> None:
        self.offset += seconds
        await asyncio.sleep(0)


class UnsureBus(MemoryBus):
    """A bus whose commits fail at random, half of them after all."""

    def __init__(self, rng: random.Random, rate: float = 0.0) -> None:
        super().__init__()
        self.rng = rng
        self.rate = rate
        self.limit = 10**9
        """Bytes of the largest record that it takes."""

    async def hesitate(self) -> None:
        """Let others run, for so many turns of the loop."""
        for _ in range(self.rng.randrange(4)):
            await asyncio.sleep(0)

    async def replay(self, position: TopicPartition, offset: int | None, each: TakeRecords) -> int:
        await self.hesitate()
        found = await super().replay(position, offset, each)
        await self.hesitate()
        return found

    @contextlib.asynccontextmanager
    async def writer(self, name: str) -> AsyncIterator[Writer]:
        await self.hesitate()
        async with super().writer(name) as writer:
            yield UnsureWriter(self, writer)


class UnsureWriter:
    def __init__(self, bus: UnsureBus, writer: Writer) -> None:
        self._bus = bus
        self._writer = writer

    async def submit(self, transaction: Transaction) -> Awaitable[None]:
        raise NotImplementedError

    async def commit(self, transaction: Transaction) -> None:
        await self._bus.hesitate()
        if any(size_of(each) > self._bus.limit for batch in transaction.records.values() for each in batch):
            raise TooLarge("a record is too large")
        failure = self._bus.rng.random() / self._bus.rate if self._bus.rate else 1
        if failure < 0.5:
            raise Unavailable("lost before the commit")
        await self._writer.commit(transaction)
        await self._bus.hesitate()
        if failure < 1:
            raise Unavailable("lost after the commit")

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        raise NotImplementedError


async def written(bus: MemoryBus, rng: random.Random) -> Desk:
    desk = Desk(bus)
    rejects = [reject(number, pipeline=rng.choice(["orders@1", "gone@1", ""])) for number in range(LETTERS)]
    await desk.write(*(each if rng.random() < 0.9 else bad_line(number) for number, each in enumerate(rejects)))
    return desk


def letters_of_replays(desk: Desk) -> list[str]:
    """The letters whose events were replayed, one entry for each record."""
    headers = [dict(record.headers) for record in desk.ingested()]
    return [each["trelay-replay"].decode().split(" ")[0] for each in headers]


async def check(desk: Desk) -> None:
    """Compare the records of the replays with what the decisions say."""
    replayed = letters_of_replays(desk)
    assert max(Counter(replayed).values(), default=1) == 1
    listed = (await desk.page(status="replayed", limit="1000"))["letters"]
    assert sorted(replayed) == sorted(each["id"] for each in listed)


@pytest.mark.parametrize("seed", range(5))
async def test_a_replica_that_crashes_at_any_await_leaves_each_letter_replayed_once_or_open(seed: int) -> None:
    for steps in range(200):
        rng = random.Random(seed)
        desk = await written(UnsureBus(rng), rng)
        crashed = asyncio.create_task(desk.replay(source="orders"))
        for _ in range(steps):
            await asyncio.sleep(0)
        over = crashed.done()
        crashed.cancel()
        await asyncio.gather(crashed, return_exceptions=True)
        await check(desk)
        other = Desk(desk.bus)
        await other.replay(source="orders")
        await check(other)
        opened = (await other.page(source="orders", limit="1000"))["letters"]
        assert {each["pipeline"] for each in opened} <= {"gone@1"}
        if over:
            return
    pytest.fail("a replay takes more than 200 steps of the loop")


@pytest.mark.parametrize("seed", range(20))
async def test_commits_of_unknown_outcome_are_counted_once(seed: int) -> None:
    rng = random.Random(seed)
    bus = UnsureBus(rng, rate=0.6)
    desk = await written(bus, rng)
    desk = Desk(bus, FastClock())
    cursor: dict[str, Any] = {}
    replayed = refused = 0
    while True:
        try:
            found = await desk.replay(source="orders", **cursor)
        except Unavailable:
            continue
        replayed, refused = replayed + found["replayed"], refused + found["refused"]
        cursor = {"cursor": found["cursor"]}
        if found["cursor"] is None:
            break
    await check(desk)
    assert replayed == len(desk.ingested())
    assert refused == len(await desk.ids(source="orders", limit="1000"))


@pytest.mark.parametrize("seed", range(60))
async def test_two_replicas_at_once_decide_on_each_letter_once(seed: int) -> None:
    rng = random.Random(seed)
    bus = UnsureBus(rng, rate=0.2)
    await written(bus, rng)
    desks = [Desk(bus, FastClock(), seed=seed + number) for number in range(2)]

    async def operate(desk: Desk, status: Status) -> int:
        count = 0
        for _ in range(6):
            with contextlib.suppress(Unavailable, ProblemError):
                request = DecideRequest.parse(status, b'{"source": "orders"}')
                count += (await desk.service.decide(bus, request, "ann")).body[status]
        return count

    replayed, dropped = await asyncio.gather(operate(desks[0], Status.REPLAYED), operate(desks[1], Status.DROPPED))
    await check(desks[0])
    letters = (await desks[0].page(status="all", limit="1000", source="orders"))["letters"]
    counts = Counter(each["status"] for each in letters)
    assert counts["replayed"] >= replayed
    assert counts["dropped"] >= dropped
    assert counts["open"] == 0


async def test_a_replica_that_is_fenced_again_and_again_says_so() -> None:
    desk = Desk(clock=FastClock())
    await desk.write(reject())

    class Rival(MemoryBus):
        @contextlib.asynccontextmanager
        async def writer(self, name: str) -> AsyncIterator[Writer]:
            raise Fenced("a newer writer")
            yield

    rival = Rival()
    desk.bus = rival
    await desk.write(reject())
    with pytest.raises(ProblemError, match="another replica") as refused:
        await desk.replay(all=True)
    assert refused.value.status == 409


async def test_settling_ends_what_another_replica_had_in_flight() -> None:
    bus = UnsureBus(random.Random(1))
    desk = await written(bus, random.Random(1))
    async with bus.writer("dead-letters.0") as killed:
        await desk.service.settle(bus)
        with pytest.raises(Fenced):
            await killed.commit(Transaction())


async def test_settling_does_not_disturb_what_this_replica_does() -> None:
    bus = UnsureBus(random.Random(1))
    desk = await written(bus, random.Random(1))
    names: list[str] = []

    class Watching(UnsureBus):
        """Settles while the writer of the operation is open."""

        @contextlib.asynccontextmanager
        async def writer(self, name: str) -> AsyncIterator[Writer]:
            names.append(name)
            async with bus.writer(name) as writer:
                await desk.service.settle(self)
                yield writer

    watching = Watching(random.Random(1))
    watching.__dict__ |= {**bus.__dict__}
    request = DecideRequest.parse(Status.REPLAYED, b'{"source": "orders"}')
    assert (await desk.service.decide(watching, request, "ann")).body["replayed"] > 0
    assert names == ["dead-letters.0"]


async def test_an_event_that_the_bus_refuses_is_found_and_the_others_are_replayed() -> None:
    bus = UnsureBus(random.Random(1))
    desk = Desk(bus)
    await desk.write(reject(1), reject(2, value=reject(2).value.replace(b'"n":2', b'"n":2,"x":"%b"' % (b"x" * 9000))))
    await desk.write(reject(3), reject(4))
    bus.limit = 5000
    found = await desk.replay(all=True)
    assert (found["replayed"], found["refused"]) == (3, 1)
    assert found["refusals"] == [{"id": "0-1", "reason": "the bus refuses its event as too large"}]
    assert desk.numbers() == [1, 3, 4]


async def test_many_letters_are_replayed_in_several_transactions_and_requests() -> None:
    desk = Desk(clock=FastClock())
    await desk.write(*(reject(number) for number in range(1300)))
    found = await desk.replay(all=True)
    count = found["replayed"]
    while found["cursor"] is not None:
        found = await desk.replay(all=True, cursor=found["cursor"])
        count += found["replayed"]
    assert (count, desk.numbers()) == (1300, list(range(1300)))


async def test_a_dry_run_answers_what_it_has_seen_before_a_bus_became_slow() -> None:
    """The end is known, and the last letters do not come."""

    class Short(MemoryBus):
        async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
            found = await super().bounds(topic)
            if topic == TOPICS.dead_letter:
                return {number: (first, end + 3) for number, (first, end) in found.items()}
            return found

    class Hurried(FastClock):
        def monotonic(self) -> float:
            self.offset += 0.05
            return super().monotonic()

    desk = Desk(Short(), clock=Hurried())
    await desk.write(*(reject(number) for number in range(4)))
    found = await desk.replay(all=True, dry_run=True)
    assert found["replayed"] == 4
    assert found["cursor"] is not None
    with pytest.raises(Unavailable):
        await desk.replay(all=True, dry_run=True, cursor=found["cursor"])
