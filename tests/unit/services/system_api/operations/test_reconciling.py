"""What the upstream has beside what is published."""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from services.system_api.operations import reconciling
from services.system_api.operations.reconciling import Published, reconcile
from services.system_api.sources.source import Checkpoint, Source
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction
from shared.errors import Malformed
from tests.unit.services.system_api.harness import TOPICS, Harness, Numbers

FROM, TO = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class CountableNumbers(Numbers):
    async def count(self, since: datetime, until: datetime) -> int:
        return self.last if since < until else 0

    def entity(self, position: str) -> str:
        return position


async def test_the_events_of_other_sources_and_of_no_source_do_not_count() -> None:
    harness = Harness(last=7)
    async with harness.running(harness.poller()) as poller:
        await harness.until(lambda: poller.status.caught_up_at is not None)
    foreign = Transaction()
    (first, *_) = harness.bus.records(TOPICS.publish, 0)
    for headers in ((), (("trelay-provenance", b"numbers-2 1 numbers-2:1"),), (("trelay-provenance", b"numbers x"),)):
        foreign.append(TOPICS.publish, b"n", first.value, headers)
    foreign.append(TOPICS.publish, b"n", b"no JSON", first.headers)
    async with harness.bus.writer("w") as writer:
        await writer.commit(foreign)

    @contextlib.asynccontextmanager
    async def open_source(checkpoint: Checkpoint) -> AsyncIterator[Source]:
        yield CountableNumbers(1, 7, harness.before)

    found = await reconcile(harness.bus, TOPICS.publish, "numbers", (open_source, {}), FROM, TO)
    assert found == {"upstream": 7, "published": 7, "difference": 0, "events": 7, "complete": True}


async def test_a_source_that_cannot_count_and_an_empty_range_are_refused() -> None:
    harness = Harness()
    with pytest.raises(Malformed, match="cannot count"):
        await reconcile(MemoryBus(), TOPICS.publish, "numbers", (harness.open, {}), FROM, TO)
    with pytest.raises(Malformed, match="ends after it begins"):
        await reconcile(MemoryBus(), TOPICS.publish, "numbers", (harness.open, {}), TO, TO)


def test_the_newest_event_of_an_entity_decides_whether_it_is_in_the_range() -> None:
    day = [datetime(2026, 1, number, tzinfo=UTC) for number in range(1, 6)]
    published = Published(day[1], day[3], lambda position: position.partition("@")[0])
    for position, time in [("a@1", day[1]), ("a@2", day[2]), ("b@1", day[0]), ("c@1", day[1]), ("c@2", day[4])]:
        published.add(position, time)
    published.add("d@2", day[2])
    published.add("d@1", day[1])
    assert (published.events, published.entities) == (5, 2), "a and d; b is older, c changed again"


def test_the_entities_that_are_told_apart_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconciling, "_MAX_ENTITIES", 2)
    published = Published(FROM, TO, str)
    time = datetime(2026, 1, 1, tzinfo=UTC)
    for number in (1, 2, 1):
        published.add(str(number), time)
    with pytest.raises(Malformed, match="expected a later beginning"):
        published.add("3", time)
