import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast
from uuid import UUID

import pytest

from services.experience_api.presence.options import PresenceOptions
from services.experience_api.presence.publishing import Presence
from services.experience_api.presence.sessions import Noted
from services.experience_api.presence.store import Nodes
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.keys import Guarded
from services.experience_api.refusals import UNAVAILABLE, Refused
from shared.errors import Unavailable
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.tasks import Tasks
from tests.unit.services.experience_api.clocks import StillClock

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Store:
    """What was noted, in memory."""

    def __init__(self) -> None:
        self.rows: list[Noted] = []
        self.began = 0
        self.unavailable = False
        self.dropped: list[bytes] = []
        self.leases: Nodes = frozenset({("node/one", 1, False)})
        self.looks = 0

    async def begin(self) -> None:
        self.began += 1

    async def noted(self, limit: int) -> Sequence[Noted]:
        if self.unavailable:
            raise Unavailable("the database is away")
        return self.rows[:limit]

    async def forget(self, noted: Sequence[Noted]) -> None:
        self.rows = [row for row in self.rows if row not in noted]

    async def nodes(self, after: float) -> Nodes:
        assert after == 7
        self.looks += 1
        return self.leases

    async def drop_keys(self, digests: Sequence[bytes]) -> None:
        self.dropped += digests


class Once:
    """Publishes by key."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.refused = False

    async def append(self, guarded: Sequence[Guarded]) -> int:
        if self.refused:
            raise Refused(UNAVAILABLE, "no lease")
        for each in guarded:
            (record,) = each.records
            self.published.append((record.value or b"").decode().partition('"id":"')[2].partition('"')[0][-6:])
        return len(guarded)


class Parts:
    def __init__(self) -> None:
        self.clock = StillClock()
        self.store, self.once = Store(), Once()
        self.released: list[float] = []
        self.leases = MemoryLeaseStore()

    @asynccontextmanager
    async def running(self, name: str = "one") -> AsyncIterator[None]:
        presence = Presence(
            Leases(self.leases, name),
            lambda: cast("OnceAppender", self.once),
            self._release,
            PresenceOptions(enabled=True, left_after=7),
            self.clock,
            lease_seconds=20,
        )
        async with Tasks() as tasks:
            tasks.keep("presence", presence.run(self.store))
            yield

    async def _release(self, after: float) -> None:
        self.released.append(after)

    def note(self, *kinds: str) -> None:
        first = len(self.store.rows)
        self.store.rows += [
            Noted(first + number, "a", UUID(int=first + number), kind, NOW, NOW) for number, kind in enumerate(kinds)
        ]


async def turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_was_noted_is_published_in_order_and_forgotten() -> None:
    parts = Parts()
    parts.note("came", "left")
    async with parts.running():
        await turns()
        assert [each[-4:] for each in parts.once.published] == ["came", "left"]
        assert parts.store.rows == []
        parts.note("came")
        parts.clock.pass_time(0.5)
        await turns()
        assert len(parts.once.published) == 3


async def test_claims_of_dead_replicas_are_ended_once_the_others_had_the_time_to_renew_their_leases() -> None:
    parts = Parts()
    async with parts.running():
        await turns()
        parts.clock.pass_time(19)
        await turns()
        assert parts.released == []
        parts.clock.pass_time(1)
        await turns()
        assert parts.released == [7.0]
        assert parts.store.began == 1
        parts.clock.pass_time(3600)
        await turns()
        assert parts.store.began == 2


async def test_all_connections_are_read_when_a_lease_has_begun_or_ended_and_once_a_minute() -> None:
    parts = Parts()

    async def released(seconds: int) -> int:
        before = len(parts.released)
        for _ in range(seconds):
            parts.clock.pass_time(1)
            await turns()
        return len(parts.released) - before

    async with parts.running():
        await turns()
        assert await released(20) == 1
        ended, again, two = ("node/one", 1, True), ("node/one", 2, False), ("node/two", 1, False)
        for leases in ({ended}, {again}, {again, two}):
            await released(5)
            looks = parts.store.looks
            assert await released(5) == 0
            assert parts.store.looks == looks + 5
            parts.store.leases = frozenset(leases)
            assert await released(1) == 1
        assert await released(5) == 5, "those that were locked"
        assert await released(59) == 0
        assert await released(1) == 1


async def test_keys_are_dropped_once_nobody_can_publish_with_them_again() -> None:
    parts = Parts()
    parts.note("came", "left")
    async with parts.running():
        await turns()
        parts.clock.pass_time(600)
        await turns()
        assert parts.store.dropped == []
        parts.clock.pass_time(1)
        await turns()
        assert len(set(parts.store.dropped)) == 2


async def test_one_replica_publishes_at_a_time() -> None:
    parts = Parts()
    async with parts.running("one"), parts.running("two"):
        await turns()
        assert parts.store.began == 1


@pytest.mark.parametrize("where", ["store", "once"])
async def test_an_outage_is_logged_once_and_what_was_noted_is_published_after_it(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    parts = Parts()
    parts.note("came")
    parts.store.unavailable, parts.once.refused = where == "store", where == "once"
    with caplog.at_level(logging.INFO):
        async with parts.running():
            for _ in range(5):
                await turns()
                parts.clock.pass_time(1)
            assert parts.once.published == []
            parts.store.unavailable = parts.once.refused = False
            parts.clock.pass_time(1)
            await turns()
    assert [each[-4:] for each in parts.once.published] == ["came"]
    told = [record.getMessage() for record in caplog.records if "presence" in record.getMessage()]
    assert told == ["presence not published; will retry", "presence published again"]
